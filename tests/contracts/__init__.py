"""Messages are public promises: every one has samples, a recorded shape, and a place in the index."""
