"""Ready-made projects: Compose files with a head of ours (`x-template`)."""
