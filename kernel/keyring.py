"""Encryption at rest: a ring of keys, the first encrypts, all decrypt; the context is sealed in, so that texts cannot be swapped."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path

from nacl.exceptions import CryptoError
from nacl.secret import Aead

from kernel.errors import FairleadError, FieldError, Invalid

VARIABLE = "FAIRLEAD_ENCRYPTION_KEYS_FILE"
_FORMAT = "v1"
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")


class Undecipherable(FairleadError):
    """A stored text was changed, moved to another place, or encrypted with a key that is no longer in the ring."""

    def __init__(self, detail: str) -> None:
        super().__init__("undecipherable", detail)


class KeyRing:
    """XChaCha20-Poly1305 under named keys of 32 bytes. `context` (`registry:<id>`) says where a text belongs."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """`keys` in order: the first encrypts. Raises Invalid when there is none, or one is weak or oddly named."""
        wrong = [f"key {name!r}: {why}" for name, key in keys.items() if (why := _fault(name, key))]
        if not keys:
            wrong.append("there is no key")
        if wrong:
            raise Invalid([FieldError(VARIABLE, message) for message in wrong], code="settings-invalid", detail="; ".join(wrong))
        self._boxes = {name: Aead(key) for name, key in keys.items()}
        self.current = next(iter(keys))

    @classmethod
    def load(cls, path: Path) -> KeyRing:
        """Read `id:base64(32 bytes)`, one key a line; empty lines and those with # are passed over. Raises Invalid."""
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            detail = f"{path} cannot be read: {type(error).__name__}"
            raise Invalid([FieldError(VARIABLE, detail)], code="settings-invalid", detail=detail) from error
        keys: dict[str, bytes] = {}
        for number, line in enumerate(lines, start=1):
            if not line or line.startswith("#"):
                continue
            name, _, text = line.partition(":")
            if name in keys:
                detail = f"{path}, line {number}: the key {name} stands there twice"
                raise Invalid([FieldError(VARIABLE, detail)], code="settings-invalid", detail=detail)
            keys[name] = _decoded(text, f"{path}, line {number}")
        return cls(keys)

    def encrypt(self, plain: bytes, context: str) -> str:
        """`v1.<key id>.<base64url of nonce and ciphertext>`; the same input gives another text each time."""
        sealed = self._boxes[self.current].encrypt(plain, _bound(context, self.current))
        return f"{_FORMAT}.{self.current}.{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}"

    def decrypt(self, text: str, context: str) -> bytes:
        """What `encrypt` was given. Raises Undecipherable, which never shows the text."""
        form, _, rest = text.partition(".")
        key_id, _, body = rest.partition(".")
        box = self._boxes.get(key_id)
        if form != _FORMAT or box is None:
            raise Undecipherable(f"{context}: encrypted with the key {key_id[:32]!r}, which is not in {VARIABLE}")
        try:
            return box.decrypt(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), _bound(context, key_id))
        except (CryptoError, ValueError) as error:
            raise Undecipherable(f"{context}: the encrypted text was changed, or belongs to another place") from error

    def is_current(self, text: str) -> bool:
        """Was `text` encrypted with the first key? If not, it is due to be encrypted anew."""
        return text.startswith(f"{_FORMAT}.{self.current}.")


def _bound(context: str, key_id: str) -> bytes:
    return f"{_FORMAT}|{key_id}|{context}".encode()


def _decoded(text: str, where: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        detail = f"{where}: the key is not base64"
        raise Invalid([FieldError(VARIABLE, detail)], code="settings-invalid", detail=detail) from error


def _fault(name: str, key: bytes) -> str | None:
    if not _KEY_ID.match(name):
        return "its name must be 1 to 32 letters, digits, - or _"
    if len(key) != Aead.KEY_SIZE:
        return f"it has {len(key)} bytes, not {Aead.KEY_SIZE}"
    if len(set(key)) < 8:
        return "it is a placeholder, not random"
    return None
