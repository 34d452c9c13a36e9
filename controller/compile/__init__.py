"""(model, health, inventory) to the desired program of every bridge; pure and deterministic."""
