"""A node's public key: its fingerprint, and values sealed to it on this machine."""

from __future__ import annotations

from cli.problems import CommandError

LARGEST_VALUE_BYTES = 65_536


def fingerprint(seal_key: str) -> str:
    """`SHA256:…` of a key's 32 bytes, in base64 without padding, as ssh writes it."""
    import base64
    import hashlib

    from kernel import signing

    digest = hashlib.sha256(bytes(signing.seal_key(seal_key))).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def seal(seal_key: str, *, team: str, node: str, name: str, value: str) -> str:
    """A box that only this node opens, and only as this secret. Raises CommandError for what no container could take."""
    from kernel import signing

    if len(value.encode()) > LARGEST_VALUE_BYTES:
        raise CommandError("value-too-long", f"The value of {name} is over {LARGEST_VALUE_BYTES} bytes.")
    if "\0" in value:
        raise CommandError("value-wrong", f"The value of {name} holds a NUL character.")
    return signing.seal(signing.seal_key(seal_key), team=team, node=node, name=name, value=value)
