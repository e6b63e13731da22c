"""A version with 30 images in full, and lists of 1,000 tags, against a bare Flask route of the same bytes and the registry itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from flask import Flask, Response

from bench.measure import Measure, middle, seconds_of
from tests.fixtures import servers as fixture
from tests.fixtures.catalog import TestCatalog, make_catalog
from tests.fixtures.image_registry import running_registry
from tests.fixtures.registry_images import Pusher

_IMAGES = 30
_TAGS = 1000
_ROUNDS = 60
_COLD_ROUNDS = 15

# What a real image's configuration holds, all of it used.
_CONFIG: dict[str, Any] = {
    "environment": {f"VARIABLE_{number}": f"value {number}" for number in range(20)},
    "secrets": {f"SECRET_{number}": {"required": True, "as": "env"} for number in range(4)},
    "command": ["serve", "--listen", "0.0.0.0:8080"],
    "ports": [{"container_port": 8080 + number, "host_port": 18080 + number, "protocol": "tcp"} for number in range(3)],
    "volumes": [{"path": f"/data/{number}", "type": "volume", "name": f"data-{number}"} for number in range(4)],
    "labels": {f"label.{number}": "x" for number in range(8)},
    "restart_policy": "unless-stopped",
    "healthcheck": {"http": {"path": "/healthz", "port": 8080}},
    "resources": {"cpus": 0.5, "memory_bytes": 256 << 20},
    "files": [{"path": "/etc/app.conf", "content": "setting = 1\n" * 50}],
}


def measure() -> list[Measure]:
    """Medians of interleaved rounds, inside one process."""
    with (
        _catalog() as catalog,
        tempfile.TemporaryDirectory(prefix="fairlead-bench-") as directory,
        running_registry(Path(directory)) as port,
    ):
        return [_version(catalog), *_tags(catalog, f"http://127.0.0.1:{port}")]


@contextmanager
def _catalog() -> Iterator[TestCatalog]:
    servers = fixture.running_servers()
    running = next(servers)
    database = fixture.make_database(running, "catalog")
    made = make_catalog(database)
    try:
        yield made
    finally:
        made.db.close()
        fixture.drop_database(running, database)
        servers.close()  # type: ignore[attr-defined]  # a generator


def _version(catalog: TestCatalog) -> Measure:
    registry = catalog.new_registry(type="unchecked", url=None)
    version = catalog.new_version()
    images = [{"registry_id": registry["id"], "repository": f"shop/app-{number}:1.0", "config": _CONFIG} for number in range(_IMAGES)]
    catalog.ask("POST", f"/versions/{version['id']}/images/batch", {"images": images}, expect=201)
    ours, theirs, size = _against_bare(catalog, f"/versions/{version['id']}", _ROUNDS)
    return Measure(
        f"GET version, {_IMAGES} images",
        ours * 1000,
        "ms",
        "bare Flask, same bytes",
        theirs * 1000,
        note=f"{size / 1024:.0f} KiB, not cached",
    )


def _tags(catalog: TestCatalog, url: str) -> list[Measure]:
    pusher = Pusher(url)
    pusher.image("bench/app", "1.0.0")
    pusher.again("bench/app", "1.0.0", [f"1.0.{number}" for number in range(1, _TAGS)])
    registry = catalog.new_registry(url)
    path = f"/registries/{registry['id']}/tags?repository=bench/app&limit=200"
    cold: list[float] = []
    itself: list[float] = []
    for _ in range(_COLD_ROUNDS):
        cold.append(seconds_of(lambda: catalog.ask("GET", f"{path}&refresh=true")))
        itself.append(seconds_of(lambda: _listed(url)))
    ours, theirs, _ = _against_bare(catalog, path, _ROUNDS)
    return [
        Measure(f"{_TAGS} tags, asked anew", middle(cold) * 1000, "ms", "the registry itself", middle(itself) * 1000),
        Measure(f"{_TAGS} tags, kept", ours * 1000, "ms", "bare Flask, same bytes", theirs * 1000, note="at most 60 s old, and says so"),
    ]


def _listed(url: str) -> None:
    answer = requests.get(f"{url}/v2/bench/app/tags/list?n={_TAGS}", timeout=20)
    assert len(answer.json()["tags"]) == _TAGS


def _against_bare(catalog: TestCatalog, path: str, rounds: int) -> tuple[float, float, int]:
    """(our median, the bare route's median, the size of the answer)."""
    answer = catalog.call("GET", path)
    assert answer.status_code == 200, answer.text
    bare = Flask("bare")

    @bare.get("/same")
    def same() -> Response:
        return Response(answer.data, content_type="application/json")

    client = bare.test_client()
    ours: list[float] = []
    theirs: list[float] = []
    ask: Callable[[], object] = lambda: catalog.call("GET", path)  # noqa: E731 - measured as one call
    for _ in range(rounds):
        ours.append(seconds_of(ask))
        theirs.append(seconds_of(lambda: client.get("/same")))
    return middle(ours), middle(theirs), len(answer.data)
