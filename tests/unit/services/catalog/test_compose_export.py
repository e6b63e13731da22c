"""A version goes out as a Compose file and comes back the same, whatever its configuration."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.contracts.config import parse_config
from services.catalog.compose import ExportedImage, ImportOptions, export_compose, import_compose
from services.catalog.usecases.templates import all_templates
from tests.unit.services.catalog.test_compose_import import SHOP

_text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12)
_word = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
_variable = st.from_regex(r"[A-Z_][A-Z0-9_]{0,6}", fullmatch=True)
_port = st.integers(1, 65535)
_path = st.lists(_word, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


_ports = st.lists(
    st.builds(
        lambda container, more: {"container_port": container, **more},
        _port,
        _some(host_port=_port, host_ip=st.sampled_from(["127.0.0.1", "::1"]), protocol=st.sampled_from(["tcp", "udp"])),
    ),
    max_size=3,
    unique_by=lambda one: (one["container_port"], one.get("protocol", "tcp")),
)
_volume = st.one_of(
    st.builds(
        lambda path, name, more: {"path": path, "type": "volume", "name": name, **more},
        _path,
        _word,
        _some(read_only=st.booleans(), snapshot=st.booleans()),
    ),
    st.builds(lambda path, host: {"path": path, "type": "bind", "host_path": host}, _path, _path),
    st.builds(lambda path, more: {"path": path, "type": "tmpfs", **more}, _path, _some(size_bytes=st.integers(4096, 1 << 30))),
)
_probe = st.one_of(
    st.builds(lambda words: {"test": words}, st.lists(_text, min_size=1, max_size=2).map(lambda rest: ["CMD", *rest])),
    st.just({"test": ["NONE"]}),
    st.builds(lambda port: {"http": {"path": "/ready", "port": port}}, _port),
    st.builds(lambda port: {"tcp": {"port": port}}, _port),
)
_healthcheck = st.builds(
    lambda probe, more: {**probe, **more},
    _probe,
    _some(interval_seconds=st.floats(0.1, 3600), timeout_seconds=st.floats(0.1, 600), retries=st.integers(1, 9)),
)
_config = _some(
    name=_word,
    environment=st.dictionaries(_variable, _text, max_size=3),
    secrets=st.dictionaries(_variable, _some(required=st.booleans(), **{"as": st.sampled_from(["env", "file"])}), max_size=2),
    command=st.lists(_text, max_size=3),
    entrypoint=st.lists(_text, max_size=2),
    user=st.just("1000:1000"),
    working_dir=_path,
    tty=st.booleans(),
    init=st.booleans(),
    privileged=st.booleans(),
    ports=_ports,
    port_ranges=st.just([{"container": {"first": 1, "last": 3}, "host": {"first": 11, "last": 13}}]),
    volumes=st.lists(_volume, max_size=3, unique_by=lambda one: one["path"]),
    networks=st.lists(_word, max_size=2, unique=True),
    network_mode=st.sampled_from(["bridge", "host", "none"]),
    labels=st.dictionaries(_word, _text, max_size=2),
    restart_policy=st.sampled_from(["no", "on-failure", "unless-stopped", "always"]),
    logging=st.builds(lambda options: {"driver": "json-file", "options": options}, st.dictionaries(_word, _text, max_size=2)),
    healthcheck=_healthcheck,
    resources=_some(cpus=st.floats(0.01, 64), memory_bytes=st.integers(6 << 20, 1 << 40), pids=st.integers(1, 1000)),
    capabilities=_some(add=st.just(["NET_ADMIN"]), drop=st.just(["ALL"])),
    read_only_root=st.booleans(),
    stop_signal=st.just("SIGINT"),
    stop_grace_seconds=st.integers(0, 3600),
    expected_state=_some(state=st.sampled_from(["running", "healthy", "exited"]), exit_code=st.integers(0, 9)),
    files=st.lists(
        st.builds(lambda path, content: {"path": path, "content": content}, _path, _text), max_size=2, unique_by=lambda one: one["path"]
    ),
    route=_some(domain=st.just("shop.example"), port=_port),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(_word, _config), min_size=1, max_size=3))
def test_what_goes_out_comes_back_the_same(stack: list[tuple[str, dict[str, Any]]]) -> None:
    images = [ExportedImage(config.get("name") or name, f"registry.example/{name}:1.0", parse_config(config)) for name, config in stack]
    back = import_compose(export_compose(images, title="x"), ImportOptions())
    assert [(one.image, one.config) for one in back.services] == [(one.image, one.config) for one in images]
    assert back.skipped == []


def test_the_templates_and_the_sample_come_back_the_same() -> None:
    stacks = [list(template.services.services) for template in all_templates()]
    stacks.append(import_compose(SHOP, ImportOptions({}, {"TAG": "1"})).services)
    for services in stacks:
        images = [ExportedImage(one.name, one.image, one.config) for one in services]
        back = import_compose(export_compose(images, title="x"), ImportOptions())
        assert [(one.name, one.image, one.config) for one in back.services] == [(one.name, one.image, one.config) for one in services]


@pytest.mark.parametrize("title", ["", "two\nlines: [", "# hash"])
def test_a_title_is_a_comment_and_nothing_more(title: str) -> None:
    assert import_compose(export_compose([ExportedImage("a", "x:1", {})], title=title), ImportOptions()).services[0].name == "a"


def test_what_compose_knows_is_written_in_its_own_words() -> None:
    config = parse_config(
        {
            "name": "web",
            "environment": {"A": "1"},
            "ports": [{"container_port": 80, "host_port": 8080}],
            "volumes": [{"path": "/data", "name": "data"}],
            "restart_policy": "always",
            "healthcheck": {"test": ["CMD", "true"]},
        }
    )
    assert "x-fairlead" not in export_compose([ExportedImage("web", "nginx:1", config)], title="shop")
