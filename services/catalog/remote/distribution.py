"""The Distribution specification's API: log-in by challenge, tags, manifests, digests, blobs, the catalog of repositories."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from kernel import clock
from services.catalog.domain.references import is_digest
from services.catalog.remote.access import Access
from services.catalog.remote.cache import Cache
from services.catalog.remote.challenge import Challenge, parse_challenges
from services.catalog.remote.egress import Answer, Egress
from services.catalog.remote.faults import Fault, RemoteError
from services.catalog.remote.limits import is_rate_limit, seconds_to_wait

MANIFEST_TYPES = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
MOST_NAMES = 20_000
_PAGE = 1000
_LONGEST_TOKEN = 16_384
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')
CATALOG_SCOPE = "registry:catalog:*"


def pull_scope(repository: str) -> str:
    return f"repository:{repository}:pull"


@dataclass(frozen=True)
class Fetched:
    """A manifest as it came: `digest` was computed from the bytes."""

    digest: str
    media_type: str
    document: dict[str, Any]  # any JSON; read with care
    size_bytes: int
    headers: dict[str, str]


class Distribution:
    """Asks registries. Tokens are kept until shortly before they end; nothing else is kept here."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._tokens: Cache[str] = Cache(most=2048)

    # -- what can be asked ----------------------------------------------------

    def ping(self, access: Access, deadline: float) -> bool:
        """Whether the registry asked who we are and took our log-in; nothing that is kept is used.
        Raises RemoteError unless the registry speaks the API and lets us in."""
        answer = self._send(access, "GET", "/v2/", "application/json", None, deadline, False)
        asked = answer.status == 401
        if asked:
            authorization = self._log_in(access, answer, None, deadline)
            answer = self._send(access, "GET", "/v2/", "application/json", authorization, deadline, False)
        raise_for_status(access.host, answer, logged_in=access.credentials is not None)
        return asked and access.credentials is not None

    def tags(self, access: Access, repository: str, deadline: float) -> list[str]:
        """Every tag of a repository in the registry's order, at most MOST_NAMES."""
        path = f"/v2/{quote(repository)}/tags/list?n={_PAGE}"
        found: list[str] = []
        for document in self._pages(access, path, pull_scope(repository), deadline):
            found += _strings(document.get("tags"))
            if len(found) >= MOST_NAMES:
                break
        return found[:MOST_NAMES]

    def repositories(self, access: Access, deadline: float) -> list[str]:
        """Every repository that `_catalog` names, at most MOST_NAMES."""
        found: list[str] = []
        for document in self._pages(access, f"/v2/_catalog?n={_PAGE}", CATALOG_SCOPE, deadline):
            found += _strings(document.get("repositories"))
            if len(found) >= MOST_NAMES:
                break
        return found[:MOST_NAMES]

    def digest(self, access: Access, repository: str, reference: str, deadline: float) -> str:
        """The digest that a tag stands for now, by HEAD (which costs no pull). Raises RemoteError MISSING."""
        path = _manifest_path(repository, reference)
        answer = self.ask(access, "HEAD", path, pull_scope(repository), deadline, accept=MANIFEST_TYPES)
        told = answer.headers.get("docker-content-digest", "")
        if not told:
            return self.manifest(access, repository, reference, deadline).digest
        if not is_digest(told):
            raise RemoteError(Fault.ANSWER, f"{access.host} answers with a digest that is none.")
        return told

    def manifest(self, access: Access, repository: str, reference: str, deadline: float) -> Fetched:
        """A manifest or an index. Raises RemoteError ANSWER when its bytes do not have the digest that was asked or told."""
        answer = self.ask(access, "GET", _manifest_path(repository, reference), pull_scope(repository), deadline, accept=MANIFEST_TYPES)
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        told = answer.headers.get("docker-content-digest", digest)
        if told != digest or (is_digest(reference) and reference != digest):
            raise RemoteError(Fault.ANSWER, f"{access.host} sent a manifest that does not have its digest.")
        document = _object(access, answer)
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip() or str(document.get("mediaType", ""))
        return Fetched(digest, media_type, document, len(answer.body), dict(answer.headers))

    def blob(self, access: Access, repository: str, digest: str, deadline: float) -> dict[str, Any]:
        """A blob that is JSON (an image's configuration). Public registries send it from another host; its digest is checked."""
        path = f"/v2/{quote(repository)}/blobs/{digest}"
        answer = self.ask(access, "GET", path, pull_scope(repository), deadline, accept="*/*", redirect_elsewhere=True)
        if f"sha256:{hashlib.sha256(answer.body).hexdigest()}" != digest:
            raise RemoteError(Fault.ANSWER, f"{access.host} sent a blob that does not have its digest.")
        return _object(access, answer)

    # -- how it is asked ------------------------------------------------------

    def ask(
        self,
        access: Access,
        method: str,
        path: str,
        scope: str | None,
        deadline: float,
        *,
        accept: str,
        redirect_elsewhere: bool = False,
    ) -> Answer:
        """One successful answer, logged in as the registry's challenge wants it. Raises RemoteError."""
        key = (access.key, access.url, scope)
        kept = self._tokens.find(key)
        answer = self._send(access, method, path, accept, kept.value if kept else None, deadline, redirect_elsewhere)
        if kept is not None and answer.status in (401, 403):
            # A token may be taken back before its time, and ghcr.io then asks for no other: ask as a stranger does.
            answer = self._send(access, method, path, accept, None, deadline, redirect_elsewhere)
        let_in = answer.status == 401
        if let_in:
            authorization = self._log_in(access, answer, scope, deadline)
            answer = self._send(access, method, path, accept, authorization, deadline, redirect_elsewhere)
        raise_for_status(access.host, answer, logged_in=access.credentials is not None, let_in=let_in)
        return answer

    def _send(
        self, access: Access, method: str, path: str, accept: str, authorization: str | None, deadline: float, redirect_elsewhere: bool
    ) -> Answer:
        headers = {"Accept": accept}
        if authorization:
            headers["Authorization"] = authorization
        url = urljoin(f"{access.url}/", path)
        return self._egress.fetch(
            method, url, headers=headers, trust=access.trust, seconds=_left(access, deadline), redirect_elsewhere=redirect_elsewhere
        )

    def _log_in(self, access: Access, refused: Answer, scope: str | None, deadline: float) -> str:
        challenges = parse_challenges(refused.challenges)
        for challenge in challenges:
            if challenge.scheme == "bearer":
                return self._bearer(access, challenge, scope, deadline)
        if access.credentials is None:
            raise RemoteError(Fault.LOG_IN, f"{access.host} wants a user and a password.")
        if any(challenge.scheme == "basic" for challenge in challenges):
            # A password does not change within one revision of a registry: kept as long as a usual token.
            self._tokens.keep((access.key, access.url, scope), access.credentials.basic, 300)
            return access.credentials.basic
        raise RemoteError(Fault.ANSWER, f"{access.host} asks for a way of logging in that is neither Basic nor Bearer.")

    def _bearer(self, access: Access, challenge: Challenge, scope: str | None, deadline: float) -> str:
        realm = _checked_realm(access, challenge.parameters.get("realm", ""))
        query = {name: value for name, value in (("service", challenge.parameters.get("service")), ("scope", scope)) if value}
        headers = {"Accept": "application/json"}
        if access.credentials is not None:
            headers["Authorization"] = access.credentials.basic
        url = realm + ("&" if "?" in realm else "?") + urlencode(query) if query else realm
        answer = self._egress.fetch("GET", url, headers=headers, trust=access.trust, seconds=_left(access, deadline))
        # With a scope, 403 is said of what that names rather than of the log-in.
        denied = answer.status == 403 and scope is not None
        raise_for_status(urlsplit(realm).hostname or "", answer, logged_in=access.credentials is not None, let_in=denied)
        document = _object(access, answer)
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not 0 < len(token) <= _LONGEST_TOKEN or not token.isascii() or not token.isprintable():
            raise RemoteError(Fault.ANSWER, f"The token server of {access.host} sent no token.")
        life = document.get("expires_in")
        seconds = float(life) if isinstance(life, int | float) and not isinstance(life, bool) and 0 < life < 86_400 else 60.0
        self._tokens.keep((access.key, access.url, scope), f"Bearer {token}", max(seconds * 0.8 - 5, 0))
        return f"Bearer {token}"

    def _pages(self, access: Access, path: str, scope: str, deadline: float) -> Iterator[dict[str, Any]]:
        seen: set[str] = set()
        while path and path not in seen:
            seen.add(path)
            answer = self.ask(access, "GET", path, scope, deadline, accept="application/json")
            yield _object(access, answer)
            path = next_page(access, answer)


def next_page(access: Access, answer: Answer) -> str:
    """The path that a Link header names, empty at the end. A link to another host is not followed."""
    found = _NEXT.search(answer.headers.get("link", ""))
    if found is None:
        return ""
    url = urlsplit(urljoin(answer.url, found[1]))
    here = urlsplit(answer.url)
    if (url.scheme, url.netloc) != (here.scheme, here.netloc):
        raise RemoteError(Fault.ANSWER, f"{access.host} continues its list on another host, which is not followed.")
    return str(url.path) + (f"?{url.query}" if url.query else "")


def raise_for_status(host: str, answer: Answer, *, logged_in: bool, let_in: bool = False) -> None:
    """Raises RemoteError for every status but 200. `let_in` is whether a token had been given, to whomever."""
    status = answer.status
    if status == 200:
        return
    if status == 429 or (status == 403 and is_rate_limit(answer)):
        seconds = seconds_to_wait(answer.headers)
        raise RemoteError(Fault.RATE_LIMIT, f"{host} limits how often it is asked; try again in {seconds} s.", retry_after_seconds=seconds)
    if status in (401, 403):
        why = "refuses this user and password, or they may not read this" if logged_in else "wants a user and a password"
        if let_in:
            # Most registries do not tell strangers, nor users without rights, whether a private repository exists.
            who = "this user and password" if logged_in else "anyone without a user and a password"
            why = f"does not have it, or does not show it to {who}"
        raise RemoteError(Fault.LOG_IN, f"{host} {why}.")
    if status == 404:
        raise RemoteError(Fault.MISSING, f"{host} does not have it.")
    if status >= 500:
        raise RemoteError(Fault.UNREACHABLE, f"{host} answers {status}.")
    raise RemoteError(Fault.ANSWER, f"{host} answers {status} instead of what was asked.")


def _left(access: Access, deadline: float) -> float:
    left = deadline - clock.monotonic()
    if left <= 0:
        raise RemoteError(Fault.UNREACHABLE, f"{access.host} did not answer in time.")
    return min(left, 10.0)


def _checked_realm(access: Access, realm: str) -> str:
    """The token server's address, if the registry may send us (and our password) there."""
    parts = urlsplit(realm)
    secure_enough = parts.scheme == "https" or (parts.scheme == "http" and access.url.startswith("http://"))
    if not secure_enough or parts.hostname not in access.token_hosts or parts.username or parts.fragment:
        host = parts.hostname or "nowhere"
        raise RemoteError(
            Fault.ADDRESS,
            f"{access.host} sends log-ins to {host}, which is not its own host. If that is right, name it as the registry's token_host.",
        )
    return realm


def _manifest_path(repository: str, reference: str) -> str:
    return f"/v2/{quote(repository)}/manifests/{quote(reference, safe=':')}"


def _object(access: Access, answer: Answer) -> dict[str, Any]:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise RemoteError(Fault.ANSWER, f"{access.host} does not answer as a registry does.") from error
    if not isinstance(document, dict):
        raise RemoteError(Fault.ANSWER, f"{access.host} does not answer as a registry does.")
    return document


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str) and len(item) <= 512] if isinstance(value, list) else []
