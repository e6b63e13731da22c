"""Signs access and internal tokens with the present key, and knows every key whose signatures still count."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from kernel import clock
from kernel.db import Database
from kernel.errors import Unauthenticated
from kernel.keyring import KeyRing
from services.identity.models import SigningKey
from services.identity.store import keys as store

if TYPE_CHECKING:
    from joserfc.jwk import KeySet, OKPKey
    from joserfc.jwt import JWTClaimsRegistry

# joserfc is loaded where it is used: the worker signs nothing, and need not carry it.

ISSUER = "fairlead"
ACCESS_AUDIENCE = "fairlead"
INTERNAL_AUDIENCE = "fairlead-internal"
ALGORITHM = "Ed25519"
INTERNAL_SECONDS = 60
# Keys are read anew this often, and at once for one that is not known.
_READ_EVERY_SECONDS = 20.0
# Access tokens live ten minutes; clocks and caches may be off by some more.
_LIFE_AFTER_LAST_SIGNATURE = timedelta(minutes=30)


@dataclass(frozen=True)
class _Key:
    id: str
    signs_from: datetime
    private: OKPKey
    public: dict[str, Any]  # a JWK


@dataclass(frozen=True)
class _Known:
    """All keys whose signatures count, oldest first, as they were read together."""

    keys: tuple[_Key, ...]
    public: KeySet

    def has(self, key_id: str) -> bool:
        return any(key.id == key_id for key in self.keys)


@dataclass(frozen=True)
class AccessClaims:
    """What an access token says."""

    user_id: UUID
    session_id: UUID


class Signer:
    """The signing keys of this installation, cached; made at first need."""

    def __init__(self, db: Database, ring: KeyRing) -> None:
        self._db = db
        self._ring = ring
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._read_at = float("-inf")

    def access_token(self, user_id: UUID, session_id: UUID, seconds: int) -> str:
        """A token for people's programs."""
        return self._sign({"aud": ACCESS_AUDIENCE, "sub": str(user_id), "sid": str(session_id)}, seconds)

    def internal_token(self, claims: Mapping[str, Any]) -> str:
        """A token for the other services. Any: JSON claims."""
        return self._sign({"aud": INTERNAL_AUDIENCE, **claims}, INTERNAL_SECONDS)

    def _sign(self, claims: dict[str, Any], seconds: int) -> str:
        from joserfc import jwt

        now = int(clock.now().timestamp())
        key = self._present()
        header = {"alg": ALGORITHM, "kid": key.id, "typ": "JWT"}
        return jwt.encode(header, {"iss": ISSUER, "iat": now, "exp": now + seconds, **claims}, key.private, algorithms=[ALGORITHM])

    def read_access_token(self, token: str) -> AccessClaims:
        """What it says. Raises Unauthenticated."""
        claims = self._verified(token, ACCESS_AUDIENCE)
        try:
            return AccessClaims(UUID(claims["sub"]), UUID(claims["sid"]))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise Unauthenticated from error

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of an internal token: identity verifies those itself too. Raises Unauthenticated. Any: JSON."""
        return self._verified(token, INTERNAL_AUDIENCE)

    def _verified(self, token: str, audience: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError

        known = self._read(_READ_EVERY_SECONDS)
        if not known.has(_key_id(token)):
            known = self._read(1.0)
        try:
            claims = jwt.decode(token, known.public, algorithms=[ALGORITHM]).claims
            _rules(audience).validate(claims)
        except (JoseError, ValueError, RecursionError) as error:
            raise Unauthenticated from error
        return dict(claims)

    def jwks(self) -> dict[str, Any]:
        """The public keys, those that will sign soon among them. Any: JSON."""
        return {"keys": [key.public for key in self._read(_READ_EVERY_SECONDS).keys]}

    def _present(self) -> _Key:
        keys, now = self._read(_READ_EVERY_SECONDS).keys, clock.now()
        signing = [key for key in keys if key.signs_from <= now]
        return (signing or list(keys))[-1]

    def _read(self, oldest_seconds: float) -> _Known:
        """The keys, read anew when what is known is older than `oldest_seconds`; the first ones are made here."""
        known = self._known
        if known is not None and clock.monotonic() - self._read_at < oldest_seconds:
            return known
        with self._lock:
            if self._known is None or clock.monotonic() - self._read_at >= oldest_seconds:
                self._known, self._read_at = self._fetched(), clock.monotonic()
            return self._known

    def _fetched(self) -> _Known:
        from joserfc.jwk import KeySet, OKPKey

        with self._db.system() as session:
            rows = store.all_valid(session)
            if not rows:
                store.wait_for_turn(session)
                rows = store.all_valid(session) or [make_key(session, self._ring, signs_from=clock.now())]
            before = {key.id: key for key in self._known.keys} if self._known else {}
            keys = tuple(before.get(row.id) or self._open(row) for row in rows)
        return _Known(keys, KeySet([OKPKey.import_key(key.public) for key in keys]))

    def _open(self, row: SigningKey) -> _Key:
        from joserfc.jwk import OKPKey

        private = json.loads(self._ring.decrypt(row.private_sealed, _context(row.id)))
        return _Key(row.id, row.signs_from, OKPKey.import_key(private), json.loads(row.public))


def make_key(session: Any, ring: KeyRing, *, signs_from: datetime) -> SigningKey:
    """A new key, saved; the private half encrypted. Any: a SQLAlchemy session."""
    from joserfc.jwk import OKPKey

    key_id = f"{clock.now():%Y%m%d}-{clock.new_id().hex[-8:]}"
    pair = OKPKey.generate_key("Ed25519", {"kid": key_id, "use": "sig", "alg": ALGORITHM}, private=True)
    row = SigningKey(
        id=key_id,
        public=json.dumps(pair.as_dict(private=False)),
        private_sealed=ring.encrypt(json.dumps(pair.as_dict(private=True)).encode(), _context(key_id)),
        signs_from=signs_from,
    )
    store.add(session, row)
    return row


def rotate(session: Any, ring: KeyRing, *, lead_seconds: int, end_old_now: bool = False) -> SigningKey:
    """Publish a new key that signs after `lead_seconds`; old ones end once all that they signed has. Any: a session."""
    store.wait_for_turn(session)
    now = clock.now()
    signs_from = now if end_old_now else now + timedelta(seconds=lead_seconds)
    made = make_key(session, ring, signs_from=signs_from)
    store.end_others(session, made.id, now if end_old_now else signs_from + _LIFE_AFTER_LAST_SIGNATURE)
    return made


def reseal(session: Any, ring: KeyRing) -> int:
    """Encrypt private keys anew that an old key of the ring still holds. Returns how many. Any: a session."""
    old = [row for row in store.all_valid(session) if not ring.is_current(row.private_sealed)]
    for row in old:
        row.private_sealed = ring.encrypt(ring.decrypt(row.private_sealed, _context(row.id)), _context(row.id))
    return len(old)


def _context(key_id: str) -> str:
    return f"signing_keys:{key_id}"


def _rules(audience: str) -> JWTClaimsRegistry:
    from joserfc.jwt import JWTClaimsRegistry

    return JWTClaimsRegistry(
        leeway=30,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
        sub={"essential": True},
    )


def _key_id(token: str) -> str:
    import base64

    try:
        head = token.split(".", 1)[0]
        return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))).get("kid"))
    except (ValueError, AttributeError, RecursionError):
        return ""
