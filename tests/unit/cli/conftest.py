"""A small real HTTP server that answers what a test tells it to, and the command run against it."""

from __future__ import annotations

import io
import json
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli import kept
from cli.main import app


@dataclass
class ControlPlane:
    """`answers[("GET", "/me")]` are (status, JSON), one a call; the last one stays. `asked` is what came in."""

    url: str = ""
    answers: dict[tuple[str, str], list[tuple[int, Any]]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any, str | None]] = field(default_factory=list)

    def says(self, method: str, path: str, document: Any, status: int = 200) -> None:
        self.answers.setdefault((method, path), []).append((status, document))

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        known = self.answers.get((method, path), [(404, {"code": "not-found", "detail": f"There is no {path}."})])
        return known.pop(0) if len(known) > 1 else known[0]


def _handler(plane: ControlPlane) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.removeprefix("/api/v1").partition("?")[0]
            plane.asked.append((self.command, path, json.loads(body) if body else None, self.headers.get("Authorization")))
            status, document = plane.answer(self.command, path)
            is_stream = isinstance(document, str)
            said = document.encode() if is_stream else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/event-stream" if is_stream else "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


@contextmanager
def serving(made: ControlPlane, *, tls: ssl.SSLContext | None = None) -> Iterator[ControlPlane]:
    """The server runs inside."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is what is tried
    made.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with serving(ControlPlane()) as made:
        yield made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command keeps its file; nothing of the real environment is seen."""
    for name in ("URL", "TOKEN", "TEAM", "PASSWORD", "REGISTRY_PASSWORD", "CA_FILE"):
        monkeypatch.delenv(f"FAIRLEAD_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "fairlead" / "config.json"


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`run("node", "list")` is the exit code."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def invoke(*arguments: str, stdin: bytes = b"") -> int:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            app(list(arguments), prog_name="fairlead")
        return int(ended.value.code or 0)

    return invoke


@pytest.fixture
def signed_in(home: Path, plane: ControlPlane) -> kept.Kept:
    """As after a log-in, in team 1."""
    known = kept.Kept(plane.url, "ada@example.com", "access-1", "refresh-1", "00000000-0000-0000-0000-000000000001", "Harbour")
    kept.save(home, known)
    return known
