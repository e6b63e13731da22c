# ruff: noqa: E501 - a table reads better wide
"""The configuration of a container: each field's good and bad values, and errors that name the very place."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.contracts.config import ConfigSchema, flatten, parse_config
from kernel.errors import FieldError, Invalid

# field -> (values that are taken, values that are refused with the path of the error below the field)
CASES: dict[str, tuple[list[Any], list[tuple[Any, str]]]] = {
    "name": (["web", "a", "a-b1", "0", "a" * 63, None], [("", ""), ("Web", ""), ("-a", ""), ("a-", ""), ("a" * 64, ""), ("a\n", ""), (1, "")]),
    "environment": (
        [{}, {"A": ""}, {"_a1": "x" * 65536}, {"A": None}, None],
        [({"1A": "x"}, ".1A"), ({"A-B": "x"}, ".A-B"), ({"A": 1}, ".A"), ({"A": "\0"}, ".A"), ({"A": "x" * 65537}, ".A"), ([], ""),
         ({f"A{n}": "" for n in range(513)}, ""), ({"A\n": ""}, ".A\n")],
    ),
    "secrets": (
        [{}, {"A": {}}, {"A": {"required": False, "as": "file"}}, {"A": None}, None],
        [({"A": {"as": "tape"}}, ".A.as"), ({"a b": {}}, ".a b"), ({"A": {"value": "x"}}, ".A.value"), ({"A": "x"}, ".A")],
    ),
    "command": ([[], ["a", ""], None], [("a b", ""), ([1], ".0"), (["a", "\0"], ".1"), (["x"] * 257, "")]),
    "entrypoint": ([[], ["/bin/sh", "-c"], None], [("sh", ""), ([None], ".0")]),
    "user": (["root", "1000", "1000:1000", "app:app", None], [("", ""), ("a b", ""), ("a:b:c", ""), ("a;b", ""), (0, "")]),
    "working_dir": (["/", "/srv/app", None], [("srv", ""), ("", ""), ("/a/../b", ""), ("/a\0", ""), ("/" + "a" * 4096, "")]),
    "tty": ([True, False, None], [("perhaps", ""), ([], "")]),
    "init": ([True, False, None], [("perhaps", "")]),
    "privileged": ([True, False, None], [("perhaps", "")]),
    "ports": (
        [[], None, [{"container_port": 80}], [{"container_port": 65535, "host_port": 1, "host_ip": "::1", "protocol": "udp"}],
         [{"container_port": 80, "host_port": None, "host_ip": None}]],
        [([{}], ".0.container_port"), ([{"container_port": 0}], ".0.container_port"), ([{"container_port": 65536}], ".0.container_port"),
         ([{"container_port": "80"}], ".0.container_port"), ([{"container_port": 80, "host_ip": "localhost"}], ".0.host_ip"),
         ([{"container_port": 80}, {"container_port": 80, "protocol": "icmp"}], ".1.protocol"), ([{"container_port": 80, "x": 1}], ".0.x"),
         ([80], ".0"), ({}, ""), ([{"container_port": 80}] * 257, "")],
    ),
    "port_ranges": (
        [[], None, [{"container": {"first": 1, "last": 2}, "host": {"first": 3, "last": 4}}]],
        [([{"container": {"first": 2, "last": 1}, "host": {"first": 1, "last": 2}}], ".0.container.last"),
         ([{"container": {"first": 1, "last": 2}, "host": {"first": 1, "last": 3}}], ".0.host"),
         ([{"container": {"first": 1, "last": 2}}], ".0.host"), ([{}], ".0.container"),
         ([{"container": {"first": 1, "last": 16385}, "host": {"first": 1, "last": 16385}}], ""),
         ([{"container": {"first": 1, "last": 9000}, "host": {"first": 1, "last": 9000}}] * 2, "")],
    ),
    "volumes": (
        [[], None, [{"path": "/data", "name": "data"}], [{"path": "/data", "type": "bind", "host_path": "/srv"}],
         [{"path": "/t", "type": "tmpfs", "size_bytes": 4096}], [{"path": "/d", "name": "d", "snapshot": True, "read_only": True}]],
        [([{"path": "/data"}], ".0.name"), ([{"path": "/d", "type": "bind"}], ".0.host_path"), ([{"path": "d", "name": "d"}], ".0.path"),
         ([{"path": "/d", "type": "bind", "host_path": "/a/../etc"}], ".0.host_path"), ([{"path": "/d", "name": "../x"}], ".0.name"),
         ([{"path": "/d", "name": "d", "host_path": "/x"}], ".0.host_path"), ([{"path": "/d", "type": "nfs"}], ".0.type"),
         ([{"path": "/d", "type": "tmpfs", "size_bytes": 1}], ".0.size_bytes")],
    ),
    "networks": ([[], ["front"], None], [(["a/b"], ".0"), ([""], ".0"), (["n"] * 17, ""), ("front", "")]),
    "network_mode": (["bridge", "host", "none", None], [("container:x", ""), ("", "")]),
    "labels": ([{}, {"a": "b"}, {"a": None}, None],
               [({"dev.fairlead.team": "x"}, ""), ({"a": 1}, ".a"), ({"a": "x" * 4097}, ".a"), ({"a" * 257: "x"}, "." + "a" * 257)]),
    "restart_policy": (["no", "on-failure", "unless-stopped", "always", None], [("sometimes", ""), (True, "")]),
    "logging": ([{"driver": "json-file"}, {"driver": "json-file", "options": {"max-size": "10m"}}, None],
                [({}, ".driver"), ({"driver": ""}, ".driver"), ({"driver": "x", "options": {"a": 1}}, ".options.a"), ("json-file", "")]),
    "healthcheck": (
        [{"test": ["CMD", "true"]}, {"http": {"port": 80}}, {"http": {"port": 80, "path": "/ready?x=1", "status": 204}}, {"tcp": {"port": 5432}},
         {"test": ["CMD", "x"], "interval_seconds": 0.5, "timeout_seconds": 1, "retries": 1, "start_period_seconds": 0}, None],
        [({}, ".test"), ({"test": [], "interval_seconds": 1}, ".test"), ({"test": ["x"], "tcp": {"port": 1}}, ".test"), ({"http": {}}, ".http.port"),
         ({"http": {"port": 80, "path": "ready"}}, ".http.path"), ({"http": {"port": 80, "path": "/a b"}}, ".http.path"),
         ({"tcp": {"port": 0}}, ".tcp.port"), ({"test": ["x"], "interval_seconds": 0}, ".interval_seconds"),
         ({"test": ["x"], "retries": 0}, ".retries"), ({"test": ["x"], "retries": 1.5}, ".retries"),
         ({"test": ["x"], "interval_seconds": float("nan")}, ".interval_seconds"), ({"test": ["x"], "timeout_seconds": 601}, ".timeout_seconds")],
    ),
    "resources": ([{}, {"cpus": 0.5, "memory_bytes": 6291456, "pids": 1}, {"cpus": None}, None],
                  [({"cpus": 0}, ".cpus"), ({"memory_bytes": 1024}, ".memory_bytes"), ({"pids": 0}, ".pids"), ({"memory_bytes": "1g"}, ".memory_bytes"),
                   ({"cpus": float("inf")}, ".cpus"), ({"gpus": 1}, ".gpus")]),
    "capabilities": ([{}, {"add": ["NET_ADMIN"], "drop": ["ALL"]}, {"add": ["CAP_CHOWN"]}, None],
                     [({"add": ["net_admin"]}, ".add.0"), ({"add": ["A;B"]}, ".add.0"), ({"add": "ALL"}, ".add"), ({"drop": [1]}, ".drop.0"), ({"add": ["CHOWN"] * 65}, ".add")]),
    "read_only_root": ([True, False, None], [("perhaps", "")]),
    "stop_signal": (["SIGTERM", "SIGRTMIN+3", "15", None], [("TERM", ""), ("SIG", ""), ("999", ""), (15, "")]),
    "stop_grace_seconds": ([0, 3600, None], [(-1, ""), (3601, ""), (1.5, ""), ("10", "")]),
    "expected_state": ([{}, {"state": "exited", "exit_code": 3}, {"timeout_seconds": 1, "stable_seconds": 0}, None],
                       [({"state": "gone"}, ".state"), ({"timeout_seconds": 0}, ".timeout_seconds"), ({"exit_code": 256}, ".exit_code"),
                        ({"stable_seconds": 601}, ".stable_seconds")]),
    "init_containers": ([[], None, [{"name": "migrate", "image": "web:1", "command": ["x"], "environment": {"A": "b"}, "volumes": []}]],
                        [([{}], ".0.name"), ([{"name": "a"}], ".0.image"), ([{"name": "A", "image": "x"}], ".0.name"),
                         ([{"name": "a", "image": "x", "environment": {"1": "x"}}], ".0.environment.1"),
                         ([{"name": "a", "image": "x", "volumes": [{"path": "/x"}]}], ".0.volumes.0.name"),
                         ([{"name": "a", "image": "x"}] * 17, "")]),
    "files": ([[], None, [{"path": "/etc/x", "content": ""}], [{"path": "/x", "content": "ä", "mode": "0600"}]],
              [([{"path": "x", "content": ""}], ".0.path"), ([{"path": "/x"}], ".0.content"), ([{"path": "/x", "content": "", "mode": "rw"}], ".0.mode"),
               ([{"path": "/x", "content": "x" * 262145}], ".0.content"), ([{"path": "/x/../y", "content": ""}], ".0.path")]),
    "route": ([{}, {"domain": "shop.example.com", "path": "/a", "port": 80, "tls": True, "strip_path": True}, {"domain": "*.example.com"}, None],
              [({"domain": "Shop"}, ".domain"), ({"domain": "a b"}, ".domain"), ({"path": "a"}, ".path"), ({"port": 0}, ".port"),
               ({"domain": "x`) || Host(`y"}, ".domain")]),
}  # fmt: skip
GOOD = [(field, value) for field, (good, _) in CASES.items() for value in good]
BAD = [(field, value, path) for field, (_, bad) in CASES.items() for value, path in bad]


def fields_wrong(config: object, **more: Any) -> list[str]:
    with pytest.raises(Invalid) as caught:
        parse_config(config, **more)
    return [error.field for error in caught.value.errors]


def test_every_field_has_its_cases() -> None:
    assert set(CASES) == set(ConfigSchema().fields)


@pytest.mark.parametrize(("field", "value"), GOOD, ids=lambda value: repr(value)[:40])
def test_a_good_value_is_taken_and_reading_it_again_changes_nothing(field: str, value: Any) -> None:
    once = parse_config({field: value})
    assert field in once
    assert parse_config(once) == once


@pytest.mark.parametrize(("field", "value", "path"), BAD, ids=lambda value: repr(value)[:40])
def test_a_bad_value_is_named_by_its_path(field: str, value: Any, path: str) -> None:
    assert f"config.{field}{path}" in fields_wrong({field: value})


@pytest.mark.parametrize(("field", "value", "path"), BAD, ids=lambda value: repr(value)[:40])
def test_a_message_tells_what_is_wrong_in_one_line(field: str, value: Any, path: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_config({field: value})
    for error in caught.value.errors:
        assert error.message
        assert "\n" not in error.message


def test_everything_that_is_wrong_is_told_at_once() -> None:
    config = {
        "name": "A B", "ports": [{"container_port": 0}, {"container_port": 80, "host_port": "x"}], "colour": "red",
        "healthcheck": {"http": {"port": 0, "path": "x"}},
    }  # fmt: skip
    assert sorted(fields_wrong(config)) == [
        "config.colour",
        "config.healthcheck.http.path",
        "config.healthcheck.http.port",
        "config.name",
        "config.ports.0.container_port",
        "config.ports.1.host_port",
    ]


def test_null_is_kept_for_it_takes_away_what_a_weaker_level_says() -> None:
    assert parse_config({"command": None, "environment": {"A": None}, "resources": {"cpus": None}}) == {
        "command": None,
        "environment": {"A": None},
        "resources": {"cpus": None},
    }


def test_defaults_are_filled_in_below_the_top_level_only() -> None:
    assert parse_config({}) == {}
    assert parse_config({"ports": [{"container_port": 80}]}) == {"ports": [{"container_port": 80, "protocol": "tcp"}]}
    assert parse_config({"secrets": {"A": {}}}) == {"secrets": {"A": {"required": True, "as": "env"}}}


@pytest.mark.parametrize("raw", [None, [], "x", 1, True])
def test_what_is_no_object_is_refused(raw: object) -> None:
    assert fields_wrong(raw) == ["config"]


def test_the_path_begins_where_the_caller_says() -> None:
    assert fields_wrong({"name": ""}, field="images.2.config") == ["images.2.config.name"]


def test_a_newer_senders_field_is_refused_at_the_door_and_ignored_in_a_command() -> None:
    assert fields_wrong({"colour": "red", "tty": True}) == ["config.colour"]
    assert parse_config({"colour": "red", "tty": True}, strict=False) == {"tty": True}


@pytest.mark.parametrize(
    ("messages", "flat"),
    [
        ({"a": ["is bad."]}, [FieldError("a", "is bad")]),
        ({"a": {0: {"b": ["x", "y"]}}}, [FieldError("a.0.b", "x"), FieldError("a.0.b", "y")]),
        ({"_schema": ["x"]}, [FieldError("body", "x")]),
        ({"a": {"K": {"key": ["x"]}, "L": {"value": ["y"]}}}, [FieldError("a.K", "x"), FieldError("a.L", "y")]),
        ("x", [FieldError("body", "x")]),
        ({}, []),
    ],
)
def test_nested_messages_become_paths(messages: object, flat: list[FieldError]) -> None:
    assert flatten(messages) == flat
