"""An OpenID Connect issuer as its client sees it: discovery, authorization code with PKCE, verified ID tokens."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from kernel import clock
from kernel.errors import Forbidden, Unavailable
from services.identity.settings import Settings

_TIMEOUT_SECONDS = 10
_KNOWN_SECONDS = 3600.0
# Only signatures that nobody but the issuer can make.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]


@dataclass(frozen=True)
class Claims:
    """Who the issuer says it is."""

    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    name: str | None


@dataclass(frozen=True)
class Secrets:
    """What is kept between the beginning and the end of a log-in."""

    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


class Provider:
    """The issuer that the settings name. Raises Unavailable when it is away, Forbidden `oidc-refused` for what it says."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._metadata: dict[str, Any] = {}  # the issuer's own JSON
        self._known_at = float("-inf")

    @property
    def _redirect_uri(self) -> str:
        return self._settings.link(self._settings.oidc_redirect_path)

    def authorization_url(self, state: str, secrets: Secrets) -> str:
        """Where to send the browser."""
        with self._client() as client:
            url, _ = client.create_authorization_url(
                self._discovered()["authorization_endpoint"], state=state, code_verifier=secrets.verifier, nonce=secrets.nonce
            )
        return str(url)

    def claims(self, code: str, secrets: Secrets) -> Claims:
        """Change the code for an ID token, and read that."""
        import requests
        from authlib.common.errors import AuthlibBaseError

        metadata = self._discovered()
        with self._client() as client:
            try:
                answer = client.fetch_token(metadata["token_endpoint"], code=code, code_verifier=secrets.verifier, timeout=_TIMEOUT_SECONDS)
            except AuthlibBaseError as error:
                raise _refused("The provider refused the code.") from error
            except (requests.RequestException, ValueError) as error:
                raise _away() from error
            claims = self._verified(str(answer.get("id_token") or ""), secrets.nonce)
            if "email" not in claims and metadata.get("userinfo_endpoint"):
                claims = self._with_userinfo(client, metadata["userinfo_endpoint"], claims)
        email = claims.get("email")
        return Claims(
            issuer=self._settings.oidc_issuer,
            subject=str(claims["sub"]),
            email=str(email) if email else None,
            email_verified=claims.get("email_verified") is True,
            name=str(claims["name"]) if claims.get("name") else None,
        )

    def _client(self) -> Any:  # authlib is untyped
        from authlib.integrations.requests_client import OAuth2Session

        settings = self._settings
        session = OAuth2Session(
            settings.oidc_client_id,
            settings.oidc_client_secret or None,
            scope=settings.oidc_scopes,
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if settings.oidc_client_secret else "none",
        )
        session.trust_env = False
        return session

    def _discovered(self) -> dict[str, Any]:
        with self._lock:
            if self._metadata and clock.monotonic() - self._known_at < _KNOWN_SECONDS:
                return self._metadata
            issuer = self._settings.oidc_issuer
            found = self._get(issuer.rstrip("/") + "/.well-known/openid-configuration")
            if found.get("issuer") != issuer or not {"authorization_endpoint", "token_endpoint", "jwks_uri"} <= found.keys():
                raise Unavailable(f"{issuer} does not describe itself as that issuer.", code="oidc-unavailable")
            self._metadata, self._known_at = found, clock.monotonic()
            return found

    def _get(self, url: str) -> dict[str, Any]:
        import requests

        try:
            answer = requests.get(url, timeout=_TIMEOUT_SECONDS, allow_redirects=False)
            answer.raise_for_status()
            document = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise _away() from error
        if not isinstance(document, dict):
            raise _away()
        return document

    def _verified(self, token: str, nonce: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            keys = KeySet.import_key_set(self._get(self._discovered()["jwks_uri"]))  # type: ignore[arg-type]  # a JWKS as JSON
            claims = jwt.decode(token, keys, algorithms=_ALGORITHMS).claims
            rules = jwt.JWTClaimsRegistry(
                leeway=60,
                iss={"essential": True, "value": self._settings.oidc_issuer},
                aud={"essential": True, "value": self._settings.oidc_client_id},
                nonce={"essential": True, "value": nonce},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
            )
            rules.validate(claims)
        except (JoseError, ValueError) as error:
            raise _refused("The provider's ID token is not valid.") from error
        audience = claims["aud"]
        if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") != self._settings.oidc_client_id:
            raise _refused("The provider's ID token is for somebody else.")
        return dict(claims)

    @staticmethod
    def _with_userinfo(client: Any, url: str, claims: dict[str, Any]) -> dict[str, Any]:
        import requests

        try:
            more = client.get(url, timeout=_TIMEOUT_SECONDS).json()
        except (requests.RequestException, ValueError) as error:
            raise _away() from error
        if not isinstance(more, dict) or more.get("sub") != claims["sub"]:
            raise _refused("The provider told about somebody else.")
        return more | claims


def _away() -> Unavailable:
    return Unavailable("The log-in provider does not answer as it should.", code="oidc-unavailable")


def _refused(detail: str) -> Forbidden:
    return Forbidden(detail, code="oidc-refused")
