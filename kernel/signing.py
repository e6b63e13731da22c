"""Signatures over exact bytes (Ed25519) and boxes sealed to a node (X25519), both by PyNaCl."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from nacl.exceptions import BadSignatureError, CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.signing import SigningKey, VerifyKey

from kernel.errors import FieldError, Forbidden, Invalid

_MARK = b',"signature":"'
_SIGNATURE_CHARACTERS = 86  # 64 bytes in base64url without padding


def load_signing_key(path: Path) -> SigningKey:
    """The Ed25519 key whose 32-byte seed stands in `path` as base64. Raises Invalid, which names the file only."""
    try:
        return SigningKey(base64.b64decode(path.read_text(encoding="ascii").strip(), validate=True))
    except (OSError, ValueError, TypeError, CryptoError) as error:
        detail = f"{path} is not a file with 32 bytes in base64: {type(error).__name__}"
        raise Invalid([FieldError("signing_key_file", detail)], code="settings-invalid", detail=detail) from error


def verify_key(text: str) -> VerifyKey:
    """A verification key from base64. Raises Invalid."""
    try:
        return VerifyKey(base64.b64decode(text, validate=True))
    except (ValueError, TypeError, CryptoError) as error:
        raise Invalid([FieldError("verify_key", "is not 32 bytes in base64")], code="key-invalid") from error


def seal_key(text: str) -> PublicKey:
    """A public sealing key from base64. Raises Invalid."""
    try:
        key = PublicKey(base64.b64decode(text, validate=True))
        # A point of small order (32 zeros) is a key by its form, and nothing can be sealed to it.
        SealedBox(key).encrypt(b"")
        return key
    except (ValueError, TypeError, CryptoError) as error:
        raise Invalid([FieldError("seal_key", "is not 32 bytes in base64")], code="key-invalid") from error


def to_text(key: VerifyKey | PublicKey) -> str:
    """A public key as base64 (44 characters)."""
    return base64.b64encode(bytes(key)).decode()


def sign_body(key: SigningKey, unsigned: bytes) -> bytes:
    """`unsigned` is a JSON object; returns the same bytes with a last member `signature` over exactly `unsigned`."""
    return unsigned[:-1] + _MARK + _encoded(key.sign(unsigned).signature) + b'"}'


def _encoded(signature: bytes) -> bytes:
    return base64.urlsafe_b64encode(signature).rstrip(b"=")


def split_signature(body: bytes) -> tuple[bytes, bytes]:
    """(the bytes that were signed, the raw signature). Raises Forbidden `signature-missing`."""
    start = len(body) - _SIGNATURE_CHARACTERS - len(_MARK) - 2
    if start < 1 or body[start : start + len(_MARK)] != _MARK or body[-2:] != b'"}':
        raise Forbidden("The message carries no signature.", code="signature-missing")
    encoded = body[start + len(_MARK) : -2]
    try:
        signature = base64.b64decode(encoded + b"==", altchars=b"-_", validate=True)
    except ValueError as error:
        raise Forbidden("The signature is not base64.", code="signature-wrong") from error
    # Spare bits and the other alphabet would let one signature be written in several ways.
    if _encoded(signature) != encoded:
        raise Forbidden("The signature is not written as it should be.", code="signature-wrong")
    return body[:start] + b"}", signature


def verify_body(key: VerifyKey, body: bytes) -> bytes:
    """The signed bytes of `body`. Raises Forbidden `signature-missing` or `signature-wrong`."""
    unsigned, signature = split_signature(body)
    try:
        key.verify(unsigned, signature)
    except (BadSignatureError, ValueError) as error:
        raise Forbidden("The signature does not fit the message and the key.", code="signature-wrong") from error
    return unsigned


def seal(key: PublicKey, *, team: str, node: str, name: str, value: str) -> str:
    """A sealed box (base64) for one node. Team, node and name stand inside, so that no box can be swapped for another."""
    plain = json.dumps({"team": team, "node": node, "name": name, "value": value}, separators=(",", ":"))
    return base64.b64encode(SealedBox(key).encrypt(plain.encode())).decode()


def open_sealed(key: PrivateKey, sealed: str, *, team: str, node: str, name: str) -> str:
    """The value in a sealed box: text that can be written. Anybody may have sealed it, so nothing in it is taken for granted.

    Raises Forbidden `secret-unreadable`, or `secret-swapped` when it was made for another place.
    """
    try:
        plain: object = json.loads(SealedBox(key).decrypt(base64.b64decode(sealed, validate=True)))
    except (CryptoError, ValueError, TypeError, RecursionError) as error:
        raise Forbidden(f"The secret {name} cannot be opened with this node's key.", code="secret-unreadable") from error
    if not isinstance(plain, dict) or (plain.get("team"), plain.get("node"), plain.get("name")) != (team, node, name):
        raise Forbidden(f"The secret {name} was sealed for another team, node or name.", code="secret-swapped")
    value = plain.get("value")
    if not isinstance(value, str):
        raise Forbidden(f"The secret {name} holds no text as its value.", code="secret-unreadable")
    if not is_writable(value):
        raise Forbidden(f"The secret {name} holds half a character.", code="secret-unreadable")
    return value


def is_writable(text: str) -> bool:
    """Can it stand in a file, a variable or a header? Half a surrogate pair is text in JSON and nowhere else."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
