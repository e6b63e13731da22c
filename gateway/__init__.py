"""The gateway: the one public address of all services."""
