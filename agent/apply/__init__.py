"""Carrying out: an attempt goes forward to its commit point or back to where it began, from any line it was killed at."""
