"""The story that `make demo` tells: a stack delivered, upgraded, broken and rolled back through the public API."""
