"""`python -m bench [name …]`: runs each module of this package that has `measure()`, and prints what it returns."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import bench
from bench.measure import show

_NOT_MEASUREMENTS = {"__main__", "measure"}


def main(names: list[str]) -> int:
    """Run the named measurements, or all of them."""
    known = sorted(module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in _NOT_MEASUREMENTS)
    unknown = set(names) - set(known)
    if unknown:
        sys.stderr.write(f"no such measurement: {', '.join(sorted(unknown))}; there are: {', '.join(known)}\n")
        return 2
    for name in names or known:
        module = importlib.import_module(f"bench.{name}")
        show(f"{name}: {(module.__doc__ or '').splitlines()[0]}", module.measure())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
