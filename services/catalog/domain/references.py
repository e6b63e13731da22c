"""Names of images as the Distribution specification writes them: `host:port/path/name:tag@digest`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from kernel.errors import FieldError, Invalid

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?\Z")
LONGEST_REPOSITORY = 255


@dataclass(frozen=True)
class ImageReference:
    """An image's name in its parts; at least the repository is there."""

    repository: str
    host: str | None = None
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        name = f"{self.host}/{self.repository}" if self.host else self.repository
        return name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def is_tag(text: str) -> bool:
    return bool(_TAG.match(text))


def is_digest(text: str) -> bool:
    return bool(_DIGEST.match(text))


def is_repository(text: str) -> bool:
    return len(text) <= LONGEST_REPOSITORY and bool(_REPOSITORY.match(text))


def parse_reference(text: str, *, field: str = "repository") -> ImageReference:
    """The parts of `[host[:port]/]path[:tag][@digest]`. Raises Invalid naming what is wrong with it.

    As Docker reads it: the first part is a host only when it holds a dot or a colon, or is `localhost`.
    """
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise _wrong(field, f"{digest!r} is not a digest: sha256: and 64 hexadecimal digits")
    host, path = _split_host(rest)
    repository, colon, tag = path.partition(":")
    if colon and not is_tag(tag):
        raise _wrong(field, f"{tag!r} is not a tag: letters, digits, _ . - and at most 128 of them")
    if not is_repository(repository):
        raise _wrong(field, f"{repository!r} is not a repository: lower-case letters, digits and . _ - between them, parts divided by /")
    return ImageReference(repository, host, tag or None, digest or None)


def _split_host(text: str) -> tuple[str | None, str]:
    first, slash, path = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost") and _HOST.match(first):
        return first, path
    return None, text


def _wrong(field: str, message: str) -> Invalid:
    return Invalid([FieldError(field, message)])


def container_name(repository: str) -> str:
    """The name that a container gets when its configuration gives none: the last part, as a host name may look."""
    last = repository.rpartition("/")[2]
    name = re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")[:63].strip("-")
    return name or "container"
