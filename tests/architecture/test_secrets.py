"""No secret is compared by `==`: how long that takes tells how much of it was right."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_SECRET = re.compile(r"(?:\A|_)(?:secret|token|password|signature|otp|mac|hmac)\Z")


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_secret(name: str) -> bool:
    return bool(_SECRET.search(name)) and not name.startswith(("has_", "is_"))


def leaks(source: str) -> list[str]:
    """Comparisons with == or != of something that is called a secret with something that is no constant."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
            sides = [node.left, *node.comparators]
            if any(_is_secret(_name(one)) for one in sides) and not any(isinstance(one, ast.Constant) for one in sides):
                found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def test_no_secret_is_compared_in_a_time_that_tells() -> None:
    files = [file for part in ("kernel", "services", "gateway", "agent") for file in sorted((ROOT / part).rglob("*.py"))]
    assert files
    assert {str(file): found for file in files if (found := leaks(file.read_text()))} == {}


@pytest.mark.parametrize("source", ["given == kept.token", "if password != wanted: pass", "x = my_secret == other"])
def test_such_a_comparison_would_be_found(source: str) -> None:
    assert leaks(source)


@pytest.mark.parametrize("source", ["hmac.compare_digest(token, kept)", "token == ''", "row.token_hash == token_hash", "a == has_password"])
def test_nothing_else_is_found(source: str) -> None:
    assert leaks(source) == []
