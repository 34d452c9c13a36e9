"""The topologies of the white paper's figures and the lab that runs them: Mininet's host and switch classes of ours."""
