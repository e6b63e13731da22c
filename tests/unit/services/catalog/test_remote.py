"""What registries say, read with care: challenges, tags in order, limits, answers that were recorded from public ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import clock
from services.catalog.domain import RegistryType
from services.catalog.domain.values import Registry
from services.catalog.remote.access import access_of
from services.catalog.remote.browser import Browser, RateLimit, parse_rate_limit, tag_order
from services.catalog.remote.cache import Cache
from services.catalog.remote.challenge import Challenge, parse_challenges
from services.catalog.remote.egress import LARGEST_ANSWER_BYTES, Answer, Trust
from services.catalog.remote.faults import Fault, RemoteError


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
class Recorded:
    """Gives answers that were recorded: `method url` to (status, headers, JSON). What is not there is a 404."""

    answers: Mapping[str, tuple[int, dict[str, str], Any]]
    asked: list[tuple[str, str | None]] = field(default_factory=list)

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
        self.asked.append((f"{method} {url}", headers.get("Authorization")))
        authorized = "Authorization" in headers or f"open {method} {url}" in self.answers
        key = f"{method} {url}" if authorized else f"open {method} {url}"
        status, found, document = self.answers.get(key) or self.answers.get(f"{method} {url}") or (404, {}, {})
        if not authorized and status == 200 and f"{method} {url}" in self.answers and url.startswith(self._guarded):
            status, found = 401, self._challenge
        challenges = (found["www-authenticate"],) if "www-authenticate" in found else ()
        return Answer(status, found, json.dumps(document).encode(), url, challenges)

    _guarded = "https://registry-1.docker.io"
    _challenge = {"www-authenticate": 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'}


def _access(kind: RegistryType, password: str | None = None, **more: Any) -> Any:
    now = clock.now()
    identity = clock.new_id()
    if password is not None:
        more |= {"username": "robot", "password_sealed": "sealed"}
    return access_of(Registry(id=identity, team_id=identity, name="r", type=kind, created_at=now, updated_at=now, **more), password)


def test_docker_hub_lists_a_namespace_by_its_own_api_page_by_page() -> None:
    first = "https://hub.docker.com/v2/namespaces/library/repositories?page_size=100"
    second = "https://hub.docker.com/v2/namespaces/library/repositories?page_size=100&page=2"
    egress = Recorded(
        {
            f"GET {first}": (200, {}, {"count": 2, "next": second, "results": [{"name": "nginx", "namespace": "library"}]}),
            f"GET {second}": (200, {}, {"count": 2, "next": None, "results": [{"name": "alpine", "namespace": "library"}]}),
        }
    )
    names = Browser(egress).repositories(_access(RegistryType.DOCKER_HUB, namespace="library"))
    assert names.value == ["library/alpine", "library/nginx"]


def test_docker_hub_is_never_followed_to_another_host_for_more() -> None:
    first = "https://hub.docker.com/v2/namespaces/library/repositories?page_size=100"
    egress = Recorded({f"GET {first}": (200, {}, {"next": "https://evil.example/v2/x?page=2", "results": [{"name": "nginx"}]})})
    assert Browser(egress).repositories(_access(RegistryType.DOCKER_HUB, namespace="library")).value == ["library/nginx"]
    assert len(egress.asked) == 1


def test_docker_hubs_digest_needs_an_anonymous_token_and_its_limit_is_told() -> None:
    digest = "sha256:" + "a" * 64
    manifest = "https://registry-1.docker.io/v2/library/nginx/manifests/1.27"
    token = "https://auth.docker.io/token?service=registry.docker.io&scope=repository%3Alibrary%2Fnginx%3Apull"
    egress = Recorded(
        {
            f"HEAD {manifest}": (200, {"docker-content-digest": digest}, {}),
            f"GET {token}": (200, {}, {"token": "abc", "access_token": "abc", "expires_in": 300}),
        }
    )
    assert Browser(egress).digest(_access(RegistryType.DOCKER_HUB), "library/nginx", "1.27") == digest
    assert egress.asked == [(f"HEAD {manifest}", None), (f"GET {token}", None), (f"HEAD {manifest}", "Bearer abc")]


def test_too_many_requests_say_when_to_come_back() -> None:
    egress = Recorded({"HEAD https://ghcr.io/v2/org/app/manifests/1": (429, {"retry-after": "120"}, {})})
    with pytest.raises(RemoteError) as refused:
        Browser(egress).digest(_access(RegistryType.GITHUB, namespace="org"), "org/app", "1")
    assert (refused.value.fault, refused.value.retry_after_seconds) == (Fault.RATE_LIMIT, 120)


def test_github_lists_an_organisation_or_a_user_and_follows_its_pages() -> None:
    base = "https://api.github.com/users/tess/packages?package_type=container&per_page=100"
    more = f'<{base}&page=2>; rel="next", <{base}&page=2>; rel="last"'
    egress = Recorded({f"GET {base}": (200, {"link": more}, [{"name": "web"}]), f"GET {base}&page=2": (200, {}, [{"name": "team/db"}])})
    names = Browser(egress).repositories(_access(RegistryType.GITHUB, "token", namespace="tess"))
    assert names.value == ["tess/team/db", "tess/web"]
    with pytest.raises(RemoteError) as refused:
        Browser(egress).repositories(_access(RegistryType.GITHUB, namespace="tess"))
    assert refused.value.fault is Fault.LOG_IN


def test_gitlab_lists_a_group_or_a_project_of_its_own_host() -> None:
    url = "https://gitlab.example/api/v4/projects/shop%2Fapp/registry/repositories?per_page=100"
    egress = Recorded({f"GET {url}": (200, {}, [{"id": 1, "path": "shop/app/web"}, {"id": 2, "path": "shop/app/db"}])})
    access = _access(
        RegistryType.GITLAB, "token", url="https://registry.gitlab.example", api_url="https://gitlab.example", namespace="shop/app"
    )
    assert Browser(egress).repositories(access).value == ["shop/app/db", "shop/app/web"]
    assert access.token_hosts == {"registry.gitlab.example", "gitlab.example"}


def test_google_names_children_beside_tags() -> None:
    base = "https://europe-docker.pkg.dev/v2/proj"
    egress = Recorded(
        {
            f"GET {base}/tags/list": (200, {}, {"child": ["repo"], "tags": []}),
            f"GET {base}/repo/tags/list": (200, {}, {"child": ["web", "db"], "tags": []}),
            f"GET {base}/repo/web/tags/list": (200, {}, {"child": [], "tags": ["1"]}),
            f"GET {base}/repo/db/tags/list": (200, {}, {"child": [], "tags": []}),
        }
    )
    access = _access(RegistryType.GOOGLE, "{}", url="https://europe-docker.pkg.dev", namespace="proj")
    assert Browser(egress).repositories(access).value == ["proj/repo/db", "proj/repo/web"]


def test_a_realm_on_another_host_gets_no_password() -> None:
    egress = Recorded(
        {"HEAD https://quay.example/v2/a/manifests/1": (401, {"www-authenticate": 'Bearer realm="https://evil.example/token"'}, {})}
    )
    with pytest.raises(RemoteError) as refused:
        Browser(egress).digest(_access(RegistryType.V2, "secret", url="https://quay.example"), "a", "1")
    assert refused.value.fault is Fault.ADDRESS
    assert "evil.example" in refused.value.detail
    assert [url for url, _ in egress.asked] == ["HEAD https://quay.example/v2/a/manifests/1"]
    named = _access(RegistryType.V2, "secret", url="https://quay.example", token_host="evil.example")
    with pytest.raises(RemoteError):
        Browser(egress).digest(named, "a", "1")
    assert any("evil.example" in url for url, _ in egress.asked), "a token host that was named is asked"


def test_docker_hub_is_logged_in_to_for_private_repositories() -> None:
    page = "https://hub.docker.com/v2/namespaces/acme/repositories?page_size=100"
    egress = Recorded(
        {
            "POST https://hub.docker.com/v2/auth/token": (200, {}, {"access_token": "hub"}),
            f"GET {page}": (200, {}, {"next": None, "results": [{"name": "secret-app"}]}),
        }
    )
    assert Browser(egress).repositories(_access(RegistryType.DOCKER_HUB, "pat", namespace="acme")).value == ["acme/secret-app"]
    assert egress.asked[-1] == (f"GET {page}", "Bearer hub")


def test_azure_lists_by_the_specification_with_its_admin_or_principal() -> None:
    catalog = "https://team.azurecr.io/v2/_catalog?n=1000"
    more = '</v2/_catalog?last=app&n=1000>; rel="next"'
    egress = Recorded(
        {
            f"GET {catalog}": (200, {"link": more}, {"repositories": ["app"]}),
            "GET https://team.azurecr.io/v2/_catalog?last=app&n=1000": (200, {}, {"repositories": ["web"]}),
        }
    )
    assert Browser(egress).repositories(_access(RegistryType.AZURE, "pw", url="https://team.azurecr.io")).value == ["app", "web"]
