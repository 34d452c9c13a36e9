"""Desired against installed: what differs is changed, in one atomic bundle per bridge; nothing else is touched."""
