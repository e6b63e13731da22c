"""The pages for people: a plain front page and the API's manual, with nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response

from gateway.parts import Parts
from gateway.routing import public

_PAGES = Path(__file__).resolve().parent / "pages"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/api/docs": ("docs.html", "text/html; charset=utf-8"),
    "/api/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
    "/api/docs.css": ("docs.css", "text/css; charset=utf-8"),
}


def add_routes(app: Flask, parts: Parts) -> None:
    for path, (name, kind) in _FILES.items():
        app.add_url_rule(path, endpoint=f"page {name}", view_func=_view(name, kind), methods=["GET"])


def _view(name: str, kind: str) -> Callable[[], Response]:
    text = (_PAGES / name).read_text(encoding="utf-8")

    @public("a page without data")
    def page() -> Response:
        response = Response(text, content_type=kind)
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Cache-Control"] = "max-age=300"
        return response

    return page
