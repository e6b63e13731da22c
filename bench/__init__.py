"""Measurements, each a ratio against an alternative in the same run: these machines are noisy, and a bare time says little."""
