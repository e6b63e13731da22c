"""What every web service has alike: problems, sign-in, permissions, paging, ETags, idempotency keys."""

from kernel.http.app import HttpService, create_http_app
from kernel.http.auth import Principal, TokenVerifier, needs, principal, public, signed_in
from kernel.http.etag import check_if_match, set_etag
from kernel.http.paging import Page, PageArguments, decode_cursor, page_of, page_schema
from kernel.http.patch import merge_patch

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
