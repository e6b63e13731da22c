"""Hands out the agent: the script that installs it, its wheel, and the locked list of what it needs."""

from __future__ import annotations

import re
from pathlib import Path

from flask import Flask, Response, request, send_file
from werkzeug.exceptions import NotFound

from gateway.parts import Parts
from gateway.routing import public
from kernel.errors import Unavailable

# Both go into a script that root runs: nothing else than these characters may.
_TOKEN = re.compile(r"fl_enr_[A-Za-z0-9_-]{8,256}\Z")
_URL = re.compile(r"https?://[A-Za-z0-9.\-]+(?::\d{1,5})?(?:/[A-Za-z0-9._/-]*)?\Z|https?://\[[0-9a-fA-F:]+\](?::\d{1,5})?\Z")


def add_routes(app: Flask, parts: Parts) -> None:
    settings = parts.settings

    @app.get("/install/<token>")
    @public("the script holds nothing but the token that its reader sent")
    def script(token: str) -> Response:
        if not _TOKEN.match(token):
            raise NotFound("This is not an enrolment token.")
        text = render(_read(settings.install_script), public_url=settings.public_url, token=token)
        return Response(text, content_type="text/x-shellscript; charset=utf-8")

    @app.get("/install/agent/fairlead.whl")
    @public("the program is no secret")
    def wheel() -> Response:
        newest = max(settings.wheel_dir.glob("fairlead-*.whl"), key=lambda path: path.stat().st_mtime, default=None)
        if newest is None:
            raise Unavailable("The agent's wheel has not been built here yet: run `make install`.", code="wheel-missing")
        return _download(newest, "application/zip")

    @app.get("/install/agent/requirements.lock")
    @public("the program is no secret")
    def lock() -> Response:
        if not settings.agent_lock.is_file():
            raise Unavailable("The agent's locked requirements are missing here.", code="lock-missing")
        return _download(settings.agent_lock, "text/plain")


def render(script: str, *, public_url: str, token: str) -> str:
    """The script for one token. Raises Unavailable when our own public address could break out of the script."""
    if not _URL.match(public_url):
        raise Unavailable("FAIRLEAD_PUBLIC_URL is not a plain http(s) address.", code="public-url-invalid")
    return script.replace("{{PUBLIC_URL}}", public_url.rstrip("/")).replace("{{TOKEN}}", token)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise Unavailable("The install script is missing here.", code="script-missing") from error


def _download(path: Path, kind: str) -> Response:
    response = send_file(path.resolve(), mimetype=kind, as_attachment=True, download_name=path.name, conditional=True, max_age=0)
    if request.method == "HEAD":
        response.direct_passthrough = False
    return response
