"""The recorded answers of registries: each says where it is from, is used by a test, and is told of as what it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fixtures.recorded import FACTS, ROOT, Exchange, exchange, names

_REPOSITORY = Path(__file__).resolve().parents[4]
_USERS = sorted((_REPOSITORY / "tests/integration/services/catalog").glob("test_recorded_*.py"))
_LOG_INS = ("none", "any", "basic", "bearer", "private-token")
_SECRETS = re.compile(
    r"eyJ[\w-]{12,}|gh[pousr]_\w+|glpat-[\w-]+|dckr_pat_[\w-]+|AKIA[A-Z0-9]{16}|[Ss]ig(?:nature)?=(?!shortened)|sid=(?!shortened)"
)

CASES = {
    "challenge": "who asks for a log-in, and how",
    "token": "the token server's answer",
    "token-ended": "a token that is no longer taken",
    "wrong-login": "a wrong user or password",
    "missing-or-private": "what may not be read, or is not there",
    "missing": "what is not there",
    "list": "the list of repositories",
    "list-refused": "a list that this log-in may not have",
    "tags": "the list of tags",
    "tags-paging": "tags page by page",
    "digest": "a tag's digest, an index, a manifest",
    "blob-elsewhere": "a blob on another host",
    "rate-limit": "what is still allowed",
    "too-many-requests": "asked too often",
}
REGISTRIES = ("docker-hub", "github", "gitlab", "google", "azure")
# What no public recording was found for: to be replaced when there is one, not to be forgotten.
ONLY_DOCUMENTED = {
    ("gitlab", "list"),
    ("gitlab", "list-refused"),
    ("gitlab", "missing"),
    ("gitlab", "tags-paging"),
    ("gitlab", "token"),
}


def _all() -> list[Exchange]:
    return [exchange(name) for name in names()]


def _told(registry: str, case: str) -> str:
    """`recorded`, `documented`, `recorded in part`, or a dash."""
    kinds = {one.facts["kind"] for one in _all() if one.registry == registry and one.facts["case"] == case}
    return "recorded in part" if len(kinds) == 2 else "".join(kinds) or "-"


def _cases_table() -> str:
    lines = [f"| case | {' | '.join(REGISTRIES)} |", "| --- |" + " --- |" * len(REGISTRIES)]
    lines += [f"| {words} | {' | '.join(_told(registry, case) for registry in REGISTRIES)} |" for case, words in CASES.items()]
    return "\n".join(lines) + "\n"


def _files_table() -> str:
    lines = ["| file | case | kind | date | source | cut or filled in |", "| --- | --- | --- | --- | --- | --- |"]
    for one in _all():
        facts = one.facts
        lines.append(
            f"| {one.name} | {facts['case']} | {facts['kind']} | {facts['date']} | {facts['source']} | {facts.get('cut', 'nothing')} |"
        )
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", names())
def test_an_exchange_says_where_it_is_from(name: str) -> None:
    one = exchange(name)
    assert set(one.facts) | {"cut"} == set(FACTS)
    assert one.facts["source"].startswith("https://")
    assert re.fullmatch(r"20\d\d(-\d\d){0,2}", one.facts["date"])
    assert one.facts["kind"] in ("recorded", "documented")
    assert re.match(r"(GET|HEAD|POST) https?://", one.facts["request"])
    assert one.facts["log-in"] in _LOG_INS
    assert one.facts["case"] in CASES


@pytest.mark.parametrize("name", names())
def test_an_exchange_holds_no_secret(name: str) -> None:
    assert _SECRETS.findall((ROOT / f"{name}.http").read_text()) == []


def test_what_was_not_cut_is_as_long_as_it_says() -> None:
    whole = [one for one in _all() if "cut" not in one.facts and not one.facts["request"].startswith("HEAD")]
    told = {one.name: int(one.header("content-length")) for one in whole if one.header("content-length")}
    assert len(told) > 10
    assert {name: len(exchange(name).body) for name in told} == told


def test_every_exchange_is_used_by_a_test() -> None:
    source = "\n".join(file.read_text() for file in _USERS)
    assert [name for name in names() if f'"{name}"' not in source] == []


def test_what_is_only_documented_is_known() -> None:
    found = {(registry, case) for registry in REGISTRIES for case in CASES if _told(registry, case) == "documented"}
    assert found == ONLY_DOCUMENTED


def test_the_files_are_listed_beside_them() -> None:
    assert _files_table() in (ROOT / "README.md").read_text()


def test_the_documentation_says_which_cases_are_recorded() -> None:
    assert _cases_table() in (_REPOSITORY / "docs/catalog.md").read_text()
