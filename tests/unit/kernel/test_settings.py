"""Settings: every missing or wrong variable is named at once, and production takes no placeholder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from kernel.errors import Invalid
from kernel.settings import load, markdown, setting, table


@dataclass(frozen=True, kw_only=True)
class Sample:
    url: str = setting("SAMPLE_URL", "where it is")
    password: str = setting("SAMPLE_PASSWORD", "what opens it", secret=True)
    port: int = setting("SAMPLE_PORT", "the port", default=8080)
    ratio: float = setting("SAMPLE_RATIO", "a share", default=0.5)
    loud: bool = setting("SAMPLE_LOUD", "whether it is loud", default=False)
    file: Path | None = setting("SAMPLE_FILE", "a file", default=None)
    folder: Path = setting("SAMPLE_FOLDER", "a folder", default=Path("/tmp"))
    note: str | None = setting("SAMPLE_NOTE", "a note", default=None)
    networks: tuple[str, ...] = setting("SAMPLE_NETWORKS", "some networks", default=())


GOOD = {"SAMPLE_URL": "http://x", "SAMPLE_PASSWORD": "kTj2-09aXq"}


def wrong(environ: dict[str, str]) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        load(Sample, environ)
    assert caught.value.code == "settings-invalid"
    return {error.field: error.message for error in caught.value.errors}


def test_what_is_not_set_has_its_default() -> None:
    sample = load(Sample, GOOD)
    assert (sample.port, sample.ratio, sample.loud, sample.file, sample.note, sample.networks) == (8080, 0.5, False, None, None, ())


def test_every_kind_of_value_is_read() -> None:
    more = {
        "SAMPLE_PORT": "1", "SAMPLE_RATIO": "0.25", "SAMPLE_LOUD": "Yes", "SAMPLE_FILE": "/a", "SAMPLE_FOLDER": "/b",
        "SAMPLE_NOTE": "n", "SAMPLE_NETWORKS": "10.0.0.0/8, ,127.0.0.0/8",
    }  # fmt: skip
    sample = load(Sample, GOOD | more)
    assert sample == Sample(
        url="http://x", password="kTj2-09aXq", port=1, ratio=0.25, loud=True, file=Path("/a"), folder=Path("/b"), note="n",
        networks=("10.0.0.0/8", "127.0.0.0/8"),
    )  # fmt: skip


def test_every_missing_variable_is_named_at_once_with_its_meaning() -> None:
    assert wrong({}) == {"SAMPLE_URL": "is missing: where it is", "SAMPLE_PASSWORD": "is missing: what opens it"}


def test_an_empty_variable_is_a_missing_one() -> None:
    assert set(wrong(GOOD | {"SAMPLE_URL": ""})) == {"SAMPLE_URL"}


def test_every_wrong_variable_is_named_at_once() -> None:
    assert set(wrong(GOOD | {"SAMPLE_PORT": "many", "SAMPLE_RATIO": "half", "SAMPLE_LOUD": "perhaps"})) == {
        "SAMPLE_PORT",
        "SAMPLE_RATIO",
        "SAMPLE_LOUD",
    }


@pytest.mark.parametrize("placeholder", ["changeme", " ChangeMe ", "password", "secret", "change-me", "example"])
def test_production_refuses_a_placeholder_for_a_secret(placeholder: str) -> None:
    assert "placeholder" in wrong(GOOD | {"SAMPLE_PASSWORD": placeholder})["SAMPLE_PASSWORD"]


@pytest.mark.parametrize("placeholder", ["changeme", "secret", "password"])
def test_production_refuses_a_placeholder_inside_an_address(placeholder: str) -> None:
    assert "placeholder" in wrong(GOOD | {"SAMPLE_PASSWORD": f"amqp://deployer:{placeholder}@broker:5672/core"})["SAMPLE_PASSWORD"]


def test_production_is_what_runs_when_nothing_is_said() -> None:
    wrong(GOOD | {"SAMPLE_PASSWORD": "changeme"})
    wrong(GOOD | {"SAMPLE_PASSWORD": "changeme", "FAIRLEAD_ENVIRONMENT": "production"})


def test_development_may_use_a_placeholder() -> None:
    assert load(Sample, GOOD | {"SAMPLE_PASSWORD": "changeme", "FAIRLEAD_ENVIRONMENT": "development"}).password == "changeme"


def test_a_message_never_shows_the_value_of_a_secret() -> None:
    said = wrong(GOOD | {"SAMPLE_PASSWORD": "amqp://deployer:changeme@broker/core"})
    assert "changeme" not in " ".join(said.values())


def test_the_table_has_a_row_a_variable() -> None:
    rows = table(Sample)
    assert [row[0] for row in rows][:3] == ["SAMPLE_URL", "SAMPLE_PASSWORD", "SAMPLE_PORT"]
    assert rows[0] == ("SAMPLE_URL", "required", "where it is")


def test_the_manuals_table_names_each_variable_once_and_who_reads_it() -> None:
    text = markdown({"one": Sample, "two": Sample})
    line = next(line for line in text.splitlines() if "`SAMPLE_PORT`" in line)
    assert line == "| `SAMPLE_PORT` | one, two | `8080` | the port |"
    assert text.count("SAMPLE_PASSWORD") == 1
    assert "required, secret" in next(line for line in text.splitlines() if "SAMPLE_PASSWORD" in line)
