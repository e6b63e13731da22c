"""What registries say, read with care: challenges, tags in order, limits, answers that lead elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import clock
from services.catalog.domain import RegistryType
from services.catalog.domain.values import Registry
from services.catalog.remote.access import access_of
from services.catalog.remote.browser import Browser, tag_order
from services.catalog.remote.cache import Cache
from services.catalog.remote.challenge import Challenge, parse_challenges
from services.catalog.remote.egress import LARGEST_ANSWER_BYTES, Answer, Trust
from services.catalog.remote.faults import Fault, RemoteError
from services.catalog.remote.limits import RateLimit, parse_rate_limit, seconds_to_wait


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (
            ['Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"'],
            [
                Challenge(
                    "bearer",
                    {"realm": "https://auth.docker.io/token", "service": "registry.docker.io", "scope": "repository:library/nginx:pull"},
                )
            ],
        ),
        (['Basic realm="Registry Realm"'], [Challenge("basic", {"realm": "Registry Realm"})]),
        (
            ['BASIC realm=x, Bearer realm="y, z" , service=s'],
            [Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y, z", "service": "s"})],
        ),
        (['Bearer realm="a\\"b"'], [Challenge("bearer", {"realm": 'a"b'})]),
        (["Basic", "Bearer realm=x"], [Challenge("basic"), Challenge("bearer", {"realm": "x"})]),
        ([""], []),
        (["\x00"], []),
        ([], []),
    ],
)
def test_a_challenge_is_read_as_it_is_written(headers: list[str], found: list[Challenge]) -> None:
    assert parse_challenges(headers) == found


@given(st.lists(st.text(max_size=80), max_size=3))
def test_any_challenge_is_read_without_harm(headers: list[str]) -> None:
    parse_challenges(headers)


def test_tags_are_ordered_as_people_order_versions() -> None:
    tags = ["latest", "1.10", "1.9", "v2", "1.10-rc1", "1.10.1", "edge", "2.0.0-beta", "2.0.0"]
    assert sorted(tags, key=tag_order, reverse=True) == ["2.0.0", "2.0.0-beta", "v2", "1.10.1", "1.10", "1.10-rc1", "1.9", "latest", "edge"]


@given(st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,12}", fullmatch=True), unique=True))
def test_any_tags_have_an_order_without_ties(tags: list[str]) -> None:
    keys = [tag_order(tag) for tag in tags]
    assert len({repr(key) for key in keys}) == len(tags)
    sorted(keys)


def test_docker_hubs_limit_is_read() -> None:
    assert parse_rate_limit({"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"}) == RateLimit(100, 76, 21600)
    assert parse_rate_limit({}) is None
    assert parse_rate_limit({"ratelimit-limit": "many", "ratelimit-remaining": "1"}) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "999999"}, 86_400),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 1),
        ({"retry-after": "Wed, 21 Oct 1970 07:28:00 GMT"}, 1),
        ({"retry-after": "Wed, 21 Oct 9999 07:28:00 GMT"}, 86_400),
        ({"retry-after": "Wed, 41 Oct 2015 07:28:00 GMT"}, 60),
        ({"retry-after": "soon"}, 60),
        ({"retry-after": "\u00b2"}, 60),
        ({"retry-after": "1746136938"}, 1),
        ({"x-ratelimit-remaining": "12", "x-ratelimit-reset": "1746136938"}, 60),
        ({}, 60),
    ],
)
def test_how_long_to_wait_is_read_with_care(headers: dict[str, str], seconds: int) -> None:
    assert seconds_to_wait(headers) == seconds


@pytest.mark.parametrize("name", ["retry-after", "x-ratelimit-reset"])
def test_a_time_to_wait_for_is_told_in_seconds(name: str) -> None:
    end = int(clock.now().timestamp()) + 90
    assert 80 <= seconds_to_wait({name: str(end), "x-ratelimit-remaining": "0"}) <= 90


def test_a_date_to_wait_for_is_told_in_seconds() -> None:
    end = clock.now() + timedelta(seconds=90)
    assert 30 <= seconds_to_wait({"retry-after": format_datetime(end, usegmt=True)}) <= 90


def test_a_kept_value_ends_and_the_oldest_makes_room() -> None:
    cache: Cache[int] = Cache(most=2)
    cache.keep("a", 1, 60)
    cache.keep("ended", 2, 0)
    assert cache.find("ended") is None
    cache.keep("b", 3, 60)
    cache.find("a")
    cache.keep("c", 4, 60)
    assert [cache.find(key) is not None for key in ("a", "b", "c")] == [True, False, True]


@dataclass
class Untrue:
    """Gives answers that no honest registry gives: `method url` to (status, headers, JSON). What is not there is a 404."""

    answers: Mapping[str, tuple[int, dict[str, str], Any]]
    asked: list[str] = field(default_factory=list)

    def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        trust: Trust,
        body: bytes | None = None,
        seconds: float = 10.0,
        redirect_elsewhere: bool = False,
        largest_bytes: int = LARGEST_ANSWER_BYTES,
    ) -> Answer:
        self.asked.append(f"{method} {url}")
        status, found, document = self.answers.get(f"{method} {url}") or (404, {}, {})
        challenges = (found["www-authenticate"],) if "www-authenticate" in found else ()
        return Answer(status, found, json.dumps(document).encode(), url, challenges)


def _access(kind: RegistryType, password: str | None = None, **more: Any) -> Any:
    now = clock.now()
    identity = clock.new_id()
    if password is not None:
        more |= {"username": "robot", "password_sealed": "sealed"}
    return access_of(Registry(id=identity, team_id=identity, name="r", type=kind, created_at=now, updated_at=now, **more), password)


def test_docker_hub_is_never_followed_to_another_host_for_more() -> None:
    first = "https://hub.docker.com/v2/namespaces/library/repositories?page_size=100"
    egress = Untrue({f"GET {first}": (200, {}, {"next": "https://evil.example/v2/x?page=2", "results": [{"name": "nginx"}]})})
    assert Browser(egress).repositories(_access(RegistryType.DOCKER_HUB, namespace="library")).value == ["library/nginx"]
    assert len(egress.asked) == 1


def test_a_realm_on_another_host_gets_no_password() -> None:
    egress = Untrue(
        {"HEAD https://quay.example/v2/a/manifests/1": (401, {"www-authenticate": 'Bearer realm="https://evil.example/token"'}, {})}
    )
    with pytest.raises(RemoteError) as refused:
        Browser(egress).digest(_access(RegistryType.V2, "secret", url="https://quay.example"), "a", "1")
    assert refused.value.fault is Fault.ADDRESS
    assert "evil.example" in refused.value.detail
    assert egress.asked == ["HEAD https://quay.example/v2/a/manifests/1"]
    named = _access(RegistryType.V2, "secret", url="https://quay.example", token_host="evil.example")
    with pytest.raises(RemoteError):
        Browser(egress).digest(named, "a", "1")
    assert any("evil.example" in url for url in egress.asked), "a token host that was named is asked"
