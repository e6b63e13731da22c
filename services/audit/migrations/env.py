"""Alembic's entry; the kernel does the work alike for every service."""

from kernel.migrate import run_environment

run_environment()
