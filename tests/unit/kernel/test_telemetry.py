"""No secret reaches a log line, whether its key or its form tells that it is one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from kernel import telemetry
from kernel.telemetry import HIDDEN, redact

JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.fixture
def _own_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, of_pika = root.handlers[:], root.level, logging.getLogger("pika").level
    kept = structlog.get_config()
    yield
    structlog.configure(**kept)
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("pika").setLevel(of_pika)


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "new_password",
        "client_secret",
        "token",
        "refresh_token",
        "Authorization",
        "Set-Cookie",
        "credentials",
        "sealed",
        "api_key",
    ],
)
def test_a_key_that_names_a_secret_hides_its_value(key: str) -> None:
    assert redact({key: "hunter2"}) == {key: HIDDEN}
    assert redact({"deep": [{key: b"hunter2"}]}) == {"deep": [{key: HIDDEN}]}


def test_everything_below_such_a_key_is_hidden() -> None:
    told = {"secrets": {"DB": "hunter2", "list": ["hunter2"], "deeper": {"x": "hunter2"}}}
    assert "hunter2" not in json.dumps(redact(told))


def test_numbers_below_such_a_key_are_told() -> None:
    assert redact({"tokens": 3, "password_set": True}) == {"tokens": 3, "password_set": True}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"refused {JWT}", f"refused {HIDDEN}"),
        ("token fl_pat_0192_abcDEF-123 refused", f"token {HIDDEN} refused"),
        ("fl_team_1_x fl_enr_2_y fl_trg_3_z", f"{HIDDEN} {HIDDEN} {HIDDEN}"),
        ("amqp://deployer:s3cr3t@broker:5672/core", f"amqp://{HIDDEN}@broker:5672/core"),
        ("postgresql+psycopg://u:p%40ss@h/db", f"postgresql+psycopg://{HIDDEN}@h/db"),
        ("http://broker:15672/api", "http://broker:15672/api"),
        ("nothing to see", "nothing to see"),
    ],
)
def test_a_text_that_holds_a_secret_is_told_without_it(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact({"error": [text]}) == {"error": [shown]}


@pytest.mark.usefixtures("_own_logging")
def test_a_line_is_json_with_part_and_correlation_and_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("deployer.web")
    reset = telemetry.correlation.set("corr-1")
    try:
        structlog.get_logger("x").info("signed in", password="hunter2", who="ada", address=f"http://a:{'b'}@h/")
        logging.getLogger("library").warning("broken: %s", "amqp://deployer:hunter2@broker/core")
    finally:
        telemetry.correlation.reset(reset)
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["part"], ours["correlation"], ours["who"]) == ("signed in", "deployer.web", "corr-1", "ada")
    assert ours["password"] == HIDDEN
    assert theirs["event"] == f"broken: amqp://{HIDDEN}@broker/core"
    assert theirs["level"] == "warning"


@pytest.mark.usefixtures("_own_logging")
def test_a_level_that_is_too_low_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("x", level="error", form="console")
    structlog.get_logger("y").info("quiet")
    structlog.get_logger("y").error("loud")
    assert "quiet" not in (said := capsys.readouterr().err)
    assert "loud" in said
