"""Who asks, and may they: internal tokens verified by each service itself, and a permission named by every route."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import requests
from flask import Flask, g, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from kernel import clock, telemetry
from kernel.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from kernel.permissions import Action, Role, may, scope_covers
from kernel.principal import Principal

ISSUER = "fairlead"
INTERNAL_AUDIENCE = "fairlead-internal"
ALGORITHM = "Ed25519"
LEEWAY_SECONDS = 30
_PAUSE_SECONDS = 5.0
# What a token that is none raises when it is read; the last for JSON that is nested without end.
_UNREADABLE = (JoseError, ValueError, RecursionError)

View = TypeVar("View", bound=Callable[..., Any])  # Flask views return many kinds


def principal() -> Principal:
    """Who asks in the present request. Raises Unauthenticated."""
    found: Principal | None = g.get("principal")
    if found is None:
        raise Unauthenticated
    return found


class TokenVerifier:
    """Verifies internal tokens with identity's public keys (JWKS), cached; an unknown key is looked up at once, but not in a storm."""

    def __init__(self, jwks_url: str, *, life_seconds: float = 300.0) -> None:
        self._url = jwks_url
        self._life = life_seconds
        self._lock = threading.Lock()
        self._keys: KeySet | None = None
        self._ids: frozenset[str] = frozenset()
        self._fetched_at = float("-inf")

    def verify(self, token: str) -> dict[str, Any]:
        """The claims. Raises Unauthenticated, or Unavailable when no key can be had. Any: JSON claims."""
        try:
            keys = self._key_set(None)
            return self._claims(token, keys)
        except _UNREADABLE as first:
            if not self._knows(token):
                try:
                    return self._claims(token, self._key_set(_key_id(token)))
                except _UNREADABLE as error:
                    raise Unauthenticated from error
            raise Unauthenticated from first

    def _knows(self, token: str) -> bool:
        return _key_id(token) in self._ids

    @staticmethod
    def _claims(token: str, keys: KeySet) -> dict[str, Any]:
        decoded = jwt.decode(token, keys, algorithms=[ALGORITHM])
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": INTERNAL_AUDIENCE},
            exp={"essential": True},
            sub={"essential": True},
        )
        registry.validate(decoded.claims)
        return dict(decoded.claims)

    def _key_set(self, wanted: str | None) -> KeySet:
        with self._lock:
            age = clock.monotonic() - self._fetched_at
            fresh_enough = age < self._life if wanted is None else age < 1.0
            if self._keys is not None and (fresh_enough or wanted in self._ids):
                return self._keys
            try:
                answer = requests.get(self._url, timeout=5)
                answer.raise_for_status()
                document = answer.json()
                self._keys = KeySet.import_key_set(document)
                self._ids = frozenset(str(key.get("kid")) for key in document["keys"])
                self._fetched_at = clock.monotonic()
            except (requests.RequestException, ValueError, KeyError) as error:
                if self._keys is None:
                    raise Unavailable("The signing keys cannot be fetched from identity.", code="identity-unavailable") from error
                # The known keys go on; the next requests must not all wait for a service that is away.
                self._fetched_at = clock.monotonic() - self._life + _PAUSE_SECONDS
            return self._keys


def _key_id(token: str) -> str:
    import base64
    import json

    try:
        head = token.split(".", 1)[0]
        return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))).get("kid"))
    except (ValueError, AttributeError, RecursionError):
        return ""


def principal_from_claims(claims: dict[str, Any], token: str) -> Principal:
    """The caller that an internal token names. Raises Unauthenticated when its claims are incomplete."""
    try:
        return Principal(
            kind=str(claims["kind"]),
            id=UUID(claims["sub"]),
            name=str(claims.get("name") or ""),
            team_id=UUID(claims["team"]) if claims.get("team") else None,
            role=Role(claims["role"]) if claims.get("role") else None,
            scopes=tuple(claims["scopes"]),
            token=token,
            email=claims.get("email"),
            address=claims.get("addr"),
            correlation=telemetry.correlation.get(),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Unauthenticated from error


def _sign_in() -> Principal:
    if "principal" not in g:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise Unauthenticated
        verifier: TokenVerifier = _extension("verifier")
        g.principal = principal_from_claims(verifier.verify(token.strip()), token.strip())
    return principal()


def _extension(name: str) -> Any:
    from flask import current_app

    return current_app.extensions["fairlead"][name]


def needs(resource: str, action: Action) -> Callable[[View], View]:
    """A team route that needs `action` on `resource`. Another team's path is a 404, a weaker role or token a 403."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            who = _sign_in()
            if who.team_id is None or who.team_id != kwargs.get("team_id"):
                raise NotFound("team")
            if not may(who.role, who.scopes, resource, action):
                raise Forbidden
            return view(*args, **kwargs)

        wrapped.permission = f"{resource}:{action}"  # type: ignore[attr-defined]  # read from the URL map
        return wrapped  # type: ignore[return-value]  # the same signature

    return decorate


def signed_in(resource: str, action: Action = Action.READ) -> Callable[[View], View]:
    """A route for whoever is signed in, whatever their team; a token's scope still counts."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if not scope_covers(_sign_in().scopes, resource, action):
                raise Forbidden
            return view(*args, **kwargs)

        wrapped.permission = f"signed-in {resource}:{action}"  # type: ignore[attr-defined]  # read from the URL map
        return wrapped  # type: ignore[return-value]  # the same signature

    return decorate


def public(why: str) -> Callable[[View], View]:
    """A route for everybody; `why` says what makes that right."""

    def decorate(view: View) -> View:
        view.permission = f"public: {why}"  # type: ignore[attr-defined]  # read from the URL map
        return view

    return decorate


def permissions_of(app: Flask) -> dict[tuple[str, str], str | None]:
    """(method, rule) -> the permission that its view names, or None where it names none."""
    found: dict[tuple[str, str], str | None] = {}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            of_class = getattr(getattr(view, "view_class", None), method.lower(), None)
            found[method, rule.rule] = getattr(of_class or view, "permission", None)
    return found
