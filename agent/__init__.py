"""The agent: one process on each node that acts on its Docker Engine."""
