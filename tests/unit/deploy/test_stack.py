"""What the stack reads from others: the gateway's readiness, and the agents below the run directory."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from deploy.native import ports
from deploy.native.layout import Layout
from deploy.native.stack import agent_controls, agent_nodes, readiness


@contextmanager
def gateway(status: int, body: bytes) -> Iterator[int]:
    """A gateway that answers every request alike; its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            return

    with HTTPServer(("127.0.0.1", ports.free_port()), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_ready_gateway_has_nothing_to_tell() -> None:
    with gateway(200, b'{"status": "ready"}') as port:
        assert readiness(port) == []


def test_parts_that_are_not_ready_are_told_with_their_reasons() -> None:
    parts = {"audit": {"ready": True}, "broker": {"ready": False, "reason": "cannot be reached"}, "catalog": {"ready": False}}
    with gateway(503, json.dumps({"parts": parts}).encode()) as port:
        assert readiness(port) == ["broker: cannot be reached", "catalog: not ready"]


def test_an_answer_that_is_no_document_is_told_by_its_status() -> None:
    with gateway(502, b"<html>") as port:
        assert readiness(port) == ["the gateway answers 502"]


def test_a_silent_gateway_is_told() -> None:
    (told,) = readiness(ports.free_port())
    assert told.startswith("the gateway does not answer")


def test_agents_are_found_below_the_run_directory(tmp_path: Path) -> None:
    layout = Layout(Path.cwd(), tmp_path)
    assert (agent_controls(layout), agent_nodes(layout)) == ([], [])
    for name in ("agent", "agent-two"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "agentctl").touch()
        (tmp_path / name / "data").mkdir()
        (tmp_path / name / "data" / "identity.json").write_text(json.dumps({"node_id": f"id of {name}"}))
    assert [path.parents[1].name for path in agent_controls(layout)] == ["agent", "agent-two"]
    assert agent_nodes(layout) == ["id of agent", "id of agent-two"]
