"""What crosses a boundary: envelope, messages by name and version, container configuration."""
