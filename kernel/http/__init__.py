"""What every web service has alike: problems, sign-in, permissions, paging, ETags, idempotency keys.

The names are loaded when first used, so that the gateway, which needs the problems only, does not load a database library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernel.http.app import HttpService, create_http_app
    from kernel.http.auth import TokenVerifier, needs, principal, public, signed_in
    from kernel.http.etag import check_if_match, set_etag
    from kernel.http.paging import Page, PageArguments, decode_cursor, page_of, page_schema
    from kernel.http.patch import merge_patch
from kernel.principal import Principal

_HOME = {
    "app": ("HttpService", "create_http_app"),
    "auth": ("Principal", "TokenVerifier", "needs", "principal", "public", "signed_in"),
    "etag": ("check_if_match", "set_etag"),
    "paging": ("Page", "PageArguments", "decode_cursor", "page_of", "page_schema"),
    "patch": ("merge_patch",),
}

__all__ = [
    "HttpService",
    "Page",
    "PageArguments",
    "Principal",
    "TokenVerifier",
    "check_if_match",
    "create_http_app",
    "decode_cursor",
    "merge_patch",
    "needs",
    "page_of",
    "page_schema",
    "principal",
    "public",
    "set_etag",
    "signed_in",
]


def __getattr__(name: str) -> object:
    for module, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
