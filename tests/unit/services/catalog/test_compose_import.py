"""Compose files become images with configuration; whatever cannot be kept is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import Invalid
from services.catalog.compose import Imported, ImportOptions, import_compose
from services.catalog.compose.interpolation import Interpolation, parse_env_file
from services.catalog.compose.schema import VALIDATOR
from services.catalog.usecases.templates import all_templates

SHOP = (Path(__file__).parents[3] / "fixtures/compose/shop.yaml").read_text()
_FILES = {
    "web.env": "# comment\nexport A=1\nB='$A'\nC=\"$A$B\\n\"\nLOG_LEVEL=debug\nD=${A}x # why\nE\n",
    "./nginx.conf": "worker_processes 1;\n",
}


@pytest.fixture(scope="module")
def shop() -> Imported:
    return import_compose(SHOP, ImportOptions(_FILES, {"TAG": "2.0", "E": "outside"}))


def _config(imported: Imported, name: str) -> dict[str, Any]:
    return next(one.config for one in imported.services if one.name == name)


def _one(service: str, *, options: ImportOptions | None = None) -> Imported:
    return import_compose(f"services:\n  a:\n    image: x\n{service}", options or ImportOptions())


def test_services_stand_in_the_order_that_they_depend_on_each_other(shop: Imported) -> None:
    assert [one.name for one in shop.services] == ["db", "cache", "migrate", "web"]
    assert [one.image for one in shop.services][2:] == ["ghcr.io/shop/web:2.0"] * 2


def test_environment_comes_from_anchors_files_and_the_service_itself(shop: Imported) -> None:
    assert _config(shop, "web")["environment"] == {
        "A": "1", "B": "$A", "C": "1$A\n", "D": "1x", "E": "outside", "LOG_LEVEL": "info", "TZ": "UTC",
        "DATABASE_URL": "postgres://shop@db/shop", "PRICE": "$5",
    }  # fmt: skip
    assert _config(shop, "cache")["environment"] == {"SHARED": "yes"}
    assert _config(shop, "db")["environment"] == {"POSTGRES_DB": "shop"}


def test_ports_are_read_in_every_form(shop: Imported) -> None:
    web = _config(shop, "web")
    assert web["ports"] == [
        {"container_port": 443, "host_port": 8443, "host_ip": "127.0.0.1", "protocol": "tcp"},
        {"container_port": 80, "host_port": 8080, "protocol": "tcp"},
        {"container_port": 7000, "protocol": "tcp"},
        {"container_port": 53, "host_port": 5353, "protocol": "udp"},
    ]
    assert web["port_ranges"] == [{"container": {"first": 9000, "last": 9002}, "host": {"first": 9000, "last": 9002}, "protocol": "tcp"}]


def test_mounts_are_read_in_every_form(shop: Imported) -> None:
    web = _config(shop, "web")
    told = [(one["path"], one["type"], one.get("name") or one.get("host_path"), one["read_only"]) for one in web["volumes"]]
    assert told == [
        ("/srv/uploads", "volume", "shop-uploads", False),
        ("/etc/localtime", "bind", "/etc/localtime", True),
        ("/var/cache", "volume", "web-var-cache", False),
        ("/tmp", "tmpfs", None, False),
        ("/run", "tmpfs", None, False),
    ]
    assert [one.get("size_bytes") for one in web["volumes"][3:]] == [64 << 20, 16 << 20]
    assert web["files"] == [{"path": "/etc/nginx/nginx.conf", "content": "worker_processes 1;\n", "mode": "0644"}]
    assert _config(shop, "db")["files"] == [{"path": "/etc/postgresql.conf", "content": "max_connections = 50\n", "mode": "0440"}]


def test_the_rest_of_a_service_is_kept(shop: Imported) -> None:
    web, db, cache = _config(shop, "web"), _config(shop, "db"), _config(shop, "cache")
    assert web["healthcheck"] == {
        "test": ["CMD-SHELL", "curl -f http://localhost/ || exit 1"],
        "interval_seconds": 90.0, "timeout_seconds": 0.5, "retries": 3, "start_period_seconds": 40.0,
    }  # fmt: skip
    assert web["resources"] == {"cpus": 0.5, "memory_bytes": 512 << 20, "pids": 100}
    assert (web["restart_policy"], web["stop_grace_seconds"], web["stop_signal"]) == ("unless-stopped", 60, "SIGQUIT")
    assert web["capabilities"] == {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}
    assert (web["read_only_root"], web["init"], web["user"], web["networks"]) == (True, True, "1000:1000", ["front", "back"])
    assert web["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
    assert web["labels"] == {"traefik.enable": "true"}
    assert _config(shop, "migrate")["command"] == ["manage", "migrate", "--noinput", "two words"]
    assert _config(shop, "migrate")["restart_policy"] == "no"
    assert db["secrets"] == {"db_password": {"required": True, "as": "file"}, "other_secret": {"required": True, "as": "file"}}
    assert db["resources"] == {"memory_bytes": 1 << 30}
    assert (cache["healthcheck"]["test"], cache["command"]) == (["NONE"], ["redis-server", "--save", ""])


def test_everything_that_was_changed_or_left_out_is_told(shop: Imported) -> None:
    changed = {one.path for one in shop.changed}
    skipped = {one.path for one in shop.skipped}
    assert changed >= {
        "services.web.container_name", "services.web.ports", "services.web.volumes.2", "services.web.volumes.4", "services.db.secrets.0",
    }  # fmt: skip
    assert skipped == {
        "services.web.env_file.1", "services.web.environment.EMPTY", "services.web.volumes.3", "services.web.networks.front.aliases",
        "services.web.deploy.replicas", "services.web.deploy.resources.reservations", "services.web.labels.dev.fairlead.node",
        "services.web.sysctls", "services.db.environment.POSTGRES_PASSWORD", "services.base", "services.tools", "services.worker",
        "services.cache.dns", "volumes.pgdata.driver", "networks.back.driver",
    }  # fmt: skip


def test_a_profile_that_is_asked_for_is_imported() -> None:
    found = import_compose(SHOP, ImportOptions(_FILES, {"TAG": "1"}, ["debug"]))
    assert "tools" in [one.name for one in found.services]


def test_a_variable_that_must_be_given_stops_the_import_and_is_named() -> None:
    with pytest.raises(Invalid) as refused:
        import_compose(SHOP, ImportOptions())
    assert refused.value.errors[0].field == "services.web.image"
    assert "set TAG" in refused.value.errors[0].message


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$A", "1"), ("${A}", "1"),
        ("${A}b", "1b"), ("$$A", "$A"), ("${X:-d}", "d"), ("${X-d}", "d"), ("${EMPTY:-d}", "d"), ("${EMPTY-d}", ""),
        ("${X:-${A}}", "1"), ("${X:-${Y:-z}}", "z"), ("${A:+yes}", "yes"), ("${X:+yes}", ""), ("${EMPTY+yes}", "yes"), ("${X}", ""),
        ("${X:-a}b}", "ab}"), ("a$A/b", "a1/b"), ("100%", "100%"), ("${X:-$$}", "$"),
    ],
)  # fmt: skip
def test_variables_are_filled_in_as_compose_does(text: str, result: str) -> None:
    assert Interpolation({"A": "1", "EMPTY": ""}).text(text, "x") == result


@pytest.mark.parametrize("text", ["$", "$1", "${", "${}", "${A", "${A:-", "${A!}", "${X:?}", "a$", "${A:-${B}", "${" * 100])
def test_a_broken_variable_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Interpolation({}).text(text, "x")


@given(st.text(max_size=60))
def test_an_escaped_text_stays_as_it_was(text: str) -> None:
    assert Interpolation({"A": "1"}).text(text.replace("$", "$$"), "x") == text


def test_a_broken_env_file_is_refused_with_its_line() -> None:
    with pytest.raises(Invalid) as refused:
        parse_env_file("A=1\nnot a line\n", {}, path="web.env")
    assert refused.value.errors[0].field == "web.env, line 2"


@pytest.mark.parametrize(
    ("service", "field"),
    [
        ("    ports: ['99999:80']", "services.a.ports.0.host_port"),
        ("    ports: [x]", "services.a.ports.0"),
        ("    ports: ['1-3:1-2']", "services.a.ports.0"),
        ("    ports: ['9-1:9-1']", "services.a.ports.0"),
        ("    environment: {1x: a}", "services.a.environment.1x"),
        ("    environment: 7", "services.a.environment"),
        ("    volumes: ['a:b:c:d']", "services.a.volumes.0"),
        ("    volumes: ['/data:relative']", "services.a.volumes.0.path"),
        ("    mem_limit: lots", "services.a.mem_limit"),
        ("    healthcheck: {test: [x]}", "services.a.healthcheck.test"),
        ("    healthcheck: {test: x, interval: soon}", "services.a.healthcheck.interval"),
        ("    restart: sometimes", "services.a.restart"),
        ("    depends_on: [a]", "services.a.depends_on"),
        ("    extends: b", "services.a.extends"),
        ("    extends: a", "services.a.extends"),
        ('    command: "it\'s"', "services.a.command"),
        ("    x-fairlead: {colour: red}", "services.a.colour"),
        ("    cap_add: [FLY!]", "services.a.capabilities.add.0"),
        ("    tty: maybe", "services.a.tty"),
        ("    colour: red", "services.a.colour"),
        ("    ports: {a: b}", "services.a.ports"),
        ("    ports: [{published: 80}]", "services.a.ports.0.target"),
        ("    ports: [{target: 80, colour: red}]", "services.a.ports.0.colour"),
        ("    depends_on: {b: {condition: maybe}}", "services.a.depends_on.b.condition"),
        ("    depends_on: [b]", "services.a.depends_on.0"),
        ("    networks: [n]", "services.a.networks.0"),
        ("    volumes: ['data:/x']", "services.a.volumes.0"),
        ("    volumes: [{type: volume, source: data, target: /x}]", "services.a.volumes.0"),
        ("    secrets: [s]", "services.a.secrets.0"),
        ("    configs: [{source: c}]", "services.a.configs.0"),
        ("    deploy: {resources: {limits: {memory: lots}}}", "services.a.deploy.resources.limits.memory"),
        ("    deploy: {resources: {limits: {cpus: 1e999}}}", "services.a.deploy.resources.limits.cpus"),
        ("    stop_grace_period: 1e999", "services.a.stop_grace_period"),
        ("    tmpfs: '/x:size=lots'", "services.a.tmpfs.0"),
        ("    x-fairlead: 7", "services.a.x-fairlead"),
        ("volumes: {v: {colour: red}}", "volumes.v.colour"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_by_its_path(service: str, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        _one(service)
    assert [error.field for error in refused.value.errors] == [field]


def test_all_that_the_schema_finds_wrong_is_named_at_once_in_words_that_help() -> None:
    with pytest.raises(Invalid) as refused:
        _one("    ports: [x, {published: 1}]\n    tty: 7\n    healthcheck: {interval: soon}\n    labels: {a: [b]}\n    pid: 1")
    assert {error.field: error.message for error in refused.value.errors} == {
        "services.a.ports.0": "must be a port such as 8080:80, 127.0.0.1:8080:80/udp or 8000-8010:9000-9010",
        "services.a.ports.1.target": "is needed",
        "services.a.tty": "must be true or false",
        "services.a.healthcheck.interval": "must be a duration such as 1m30s",
        "services.a.labels.a": "must be a text",
        "services.a.pid": "must be a text or empty",
    }


def test_a_share_of_a_processor_may_have_many_digits() -> None:
    found = _one('    deploy: {resources: {limits: {cpus: "0.010000000000000002"}}}')
    assert found.services[0].config["resources"]["cpus"] == 0.010000000000000002


def test_the_schema_is_a_schema() -> None:
    VALIDATOR.check_schema(VALIDATOR.schema)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "a", "services: {}", "services: []", "services: {a: 7}", "services:\n  a: {image: x}\n  a: {image: y}",
     "a: *b", "? [x]\n: y", "!!python/object:os.system {}", "\t"],
)  # fmt: skip
def test_what_is_no_compose_file_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        import_compose(text, ImportOptions())


def test_a_file_that_grows_by_its_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(Invalid) as refused:
        import_compose("\n".join([*lines, "services: {a: {image: x}}"]), ImportOptions())
    assert "too large" in refused.value.errors[0].message


def test_yaml_of_compose_takes_no_time_and_no_yes_for_anything_but_texts() -> None:
    config = _one("    environment: {A: yes, B: 22:22, C: 0o17, D: 1.50, E: true, F: 2026-11-22, G: null, H: .5}").services[0].config
    assert config["environment"] == {"A": "yes", "B": "22:22", "C": "15", "D": "1.5", "E": "true", "F": "2026-11-22", "H": "0.5"}


@given(st.text(max_size=200))
def test_any_text_is_imported_or_refused(text: str) -> None:
    try:
        import_compose(text, ImportOptions())
    except Invalid:
        return


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 70000) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_KEYS = ["ports", "volumes", "environment", "healthcheck", "deploy", "networks", "configs", "secrets",
          "logging", "labels", "depends_on", "env_file", "command", "tmpfs", "build", "profiles"]  # fmt: skip


@given(st.dictionaries(st.sampled_from(_KEYS), _json, max_size=4))
def test_any_service_is_imported_or_refused(service: dict[str, Any]) -> None:
    import yaml

    try:
        import_compose(yaml.safe_dump({"services": {"a": {"image": "x", **service}}}), ImportOptions())
    except Invalid:
        return


def test_every_template_is_a_compose_file_that_loses_nothing() -> None:
    assert len(all_templates()) >= 6
    for template in all_templates():
        assert template.services.services, template.id
        assert template.services.skipped == [], template.id


def test_a_port_that_is_published_twice_keeps_its_first_place() -> None:
    found = _one("    ports: ['8080:80', '8081:80', '8081:80/udp']")
    assert found.services[0].config["ports"] == [
        {"container_port": 80, "host_port": 8080, "protocol": "tcp"},
        {"container_port": 80, "host_port": 8081, "protocol": "udp"},
    ]
    assert len(found.changed) == 1
