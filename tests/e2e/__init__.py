"""One file for each promise, told through the public API of a running stack."""
