"""Directories that servers with accounts of their own may enter; pytest's are closed to others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def open_to_others() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fairlead-deploy-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """For one test."""
    with open_to_others() as directory:
        yield directory


@pytest.fixture(scope="module")
def open_module_directory() -> Iterator[Path]:
    """For the tests of one file."""
    with open_to_others() as directory:
        yield directory
