"""The native stack: PostgreSQL, RabbitMQ, Docker Engine, a registry and Fairlead's own processes on one machine."""
