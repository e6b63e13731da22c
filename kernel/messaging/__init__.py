"""RabbitMQ, hidden: the only package that imports pika."""
