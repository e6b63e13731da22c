"""The command against a small real server: exit codes, tokens, and what goes where."""

from __future__ import annotations

import json
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from nacl.public import PrivateKey

from cli import kept
from cli.session import KeptClient
from kernel import signing
from tests.architecture.rules import ROOT
from tests.fixtures import certificates
from tests.unit.cli.conftest import ControlPlane, serving

Run = Callable[..., int]
TEAM = "/teams/00000000-0000-0000-0000-000000000001"
DEPLOYMENT = "00000000-0000-0000-0000-00000000000d"
NODES = {"items": [{"id": "n1", "name": "web-1", "status": "connected"}], "next_cursor": None}


def test_a_log_in_is_kept_for_its_owner_alone(
    run: Run, plane: ControlPlane, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plane.says("POST", "/auth/login", {"access_token": "a", "refresh_token": "r"})
    teams = [{"id": "t1", "name": "Harbour", "role": "owner"}]
    plane.says("GET", "/me", {"email": "ada@example.com", "name": "Ada", "teams": teams})
    monkeypatch.setenv("FAIRLEAD_PASSWORD", "correct horse battery")
    assert run("login", "--url", plane.url, "--email", "ada@example.com") == 0
    assert kept.load(home) == kept.Kept(plane.url, "ada@example.com", "a", "r", "t1", "Harbour")
    assert stat.S_IMODE(home.stat().st_mode) == 0o600
    assert "correct horse" not in capsys.readouterr().out


def test_signing_out_forgets_the_tokens_even_when_nothing_answers(run: Run, plane: ControlPlane, signed_in: kept.Kept, home: Path) -> None:
    kept.save(home, kept.Kept("http://127.0.0.1:9", "ada@example.com", "a", "r"))
    assert run("logout") == 2
    assert kept.load(home) == kept.Kept("http://127.0.0.1:9", "ada@example.com")


def test_lists_are_tables_for_people_and_arrays_for_scripts(
    run: Run, plane: ControlPlane, signed_in: kept.Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    plane.says("GET", f"{TEAM}/nodes", NODES)
    assert run("node", "list") == 0
    assert "web-1" in capsys.readouterr().out
    assert run("node", "list", "--output", "json") == 0
    assert json.loads(capsys.readouterr().out) == NODES["items"]


def test_a_refusal_is_one_line_with_every_wrong_field(
    run: Run, plane: ControlPlane, signed_in: kept.Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = {"code": "invalid", "detail": "Some fields are wrong.", "errors": [{"field": "name", "message": "is\nempty"}]}
    plane.says("POST", f"{TEAM}/nodes", problem, 422)
    assert run("node", "create", "x") == 1
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "fairlead: invalid: Some fields are wrong. (name: is empty)\n")


def test_network_trouble_has_an_exit_code_of_its_own(
    run: Run, monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAIRLEAD_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FAIRLEAD_TOKEN", "fl_team_x")
    assert run("team", "list") == 2
    shown = capsys.readouterr().err
    assert shown.startswith("fairlead: unreachable: nothing answers: http://127.0.0.1:9/")
    assert shown.count("\n") == 1


def test_an_authority_of_ones_own_can_be_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = certificates.authority()
    (tmp_path / "ca.pem").write_text(authority.pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificates.issue(authority, "localhost").write(tmp_path, "server"))
    with serving(ControlPlane(), tls=tls) as plane:
        plane.says("GET", "/teams", {"items": [], "next_cursor": None})
        monkeypatch.setenv("FAIRLEAD_URL", plane.url)
        monkeypatch.setenv("FAIRLEAD_TOKEN", "fl_team_x")
        assert run("team", "list") == 2
        assert "certificate verify failed" in capsys.readouterr().err
        monkeypatch.setenv("FAIRLEAD_CA_FILE", str(tmp_path / "ca.pem"))
        assert run("team", "list") == 0
    monkeypatch.setenv("FAIRLEAD_CA_FILE", "/no/such/file")
    assert run("team", "list") == 1


def test_a_server_that_is_not_ours_is_said_to_be_none(
    run: Run, plane: ControlPlane, signed_in: kept.Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    plane.says("GET", f"{TEAM}/nodes", "<html>")
    assert run("node", "list") == 1
    assert "no-json" in capsys.readouterr().err


def test_a_kept_token_goes_to_no_other_control_plane(
    run: Run, plane: ControlPlane, signed_in: kept.Kept, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.save(home, kept.Kept("https://elsewhere.example", "ada@example.com", "a", "r"))
    monkeypatch.setenv("FAIRLEAD_URL", plane.url)
    assert run("node", "list") == 1
    assert plane.asked == []
    assert "signed-out" in capsys.readouterr().err


def test_the_environment_goes_before_the_log_in(
    run: Run, plane: ControlPlane, signed_in: kept.Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = "00000000-0000-0000-0000-000000000002"
    plane.says("GET", "/teams", {"items": [{"id": team, "name": "Docks", "slug": "docks"}], "next_cursor": None})
    plane.says("GET", f"/teams/{team}/nodes", NODES)
    monkeypatch.setenv("FAIRLEAD_TOKEN", "fl_pat_x")
    monkeypatch.setenv("FAIRLEAD_TEAM", "docks")
    assert run("node", "list") == 0
    assert {(path, token) for _, path, _, token in plane.asked} == {
        ("/teams", "Bearer fl_pat_x"),
        (f"/teams/{team}/nodes", "Bearer fl_pat_x"),
    }


def test_a_token_that_ran_out_is_renewed_and_kept(run: Run, plane: ControlPlane, signed_in: kept.Kept, home: Path) -> None:
    plane.says("GET", f"{TEAM}/nodes", {"code": "unauthenticated", "detail": "Sign in."}, 401)
    plane.says("GET", f"{TEAM}/nodes", NODES)
    plane.says("POST", "/auth/refresh", {"access_token": "access-2", "refresh_token": "refresh-2"})
    assert run("node", "list") == 0
    assert kept.load(home).refresh_token == "refresh-2"
    assert plane.asked[-1][3] == "Bearer access-2"


def test_tokens_that_another_command_renewed_meanwhile_are_taken_and_not_renewed_again(
    plane: ControlPlane, signed_in: kept.Kept, home: Path
) -> None:
    client = KeptClient(home, signed_in)
    kept.save(home, replace(signed_in, access_token="access-2", refresh_token="refresh-2"))
    plane.says("GET", "/me", {"code": "unauthenticated", "detail": "Sign in."}, 401)
    plane.says("GET", "/me", {"name": "Ada"})
    assert client.get("/me") == {"name": "Ada"}
    client.close()
    # A refresh token that is used twice ends the session.
    assert [(path, token) for _, path, _, token in plane.asked] == [("/me", "Bearer access-1"), ("/me", "Bearer access-2")]


def test_a_secret_leaves_this_machine_sealed_only(
    run: Run, plane: ControlPlane, signed_in: kept.Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    private = PrivateKey.generate()
    path = f"{TEAM}/deployments/{DEPLOYMENT}/secrets"
    key = signing.to_text(private.public_key)
    plane.says("GET", path, {"items": [], "seal_key": key, "node_id": "n1", "team_id": "t1"})
    plane.says("PUT", path, {"items": []})
    assert run("secret", "set", DEPLOYMENT, "API_KEY", stdin=b"swordfish\n") == 0
    assert "SHA256:" in capsys.readouterr().out
    assert "swordfish" not in str(plane.asked)
    box = plane.asked[-1][2]["API_KEY"]["sealed"]
    assert signing.open_sealed(private, box, team="t1", node="n1", name="API_KEY") == "swordfish"
    assert run("secret", "set", DEPLOYMENT, "API_KEY", "--key-fingerprint", "SHA256:other", stdin=b"swordfish") == 1
    assert [method for method, *_ in plane.asked].count("PUT") == 1


@pytest.mark.parametrize(("outcome", "code"), [("succeeded", 0), ("failed", 1)])
def test_a_start_that_is_followed_ends_as_the_attempt_does(
    run: Run, plane: ControlPlane, signed_in: kept.Kept, capsys: pytest.CaptureFixture[str], outcome: str, code: int
) -> None:
    path = f"{TEAM}/deployments/{DEPLOYMENT}"
    plane.says("POST", f"{path}/start", {"attempt": {"number": 1, "outcome": None}}, 202)
    # The stream breaks with the first token, and goes on with another.
    plane.says("GET", f"{path}/events/stream", 'id: 1\nevent: step\ndata: {"message": "pulled", "kind": "step"}\n\n')
    plane.says("GET", f"{path}/events/stream", {"code": "unauthenticated", "detail": "Sign in."}, 401)
    plane.says("POST", "/auth/refresh", {"access_token": "access-2", "refresh_token": "refresh-2"})
    plane.says("GET", f"{path}/events/stream", 'event: end\ndata: {"status": "x"}\n\n')
    attempt = {"number": 1, "outcome": outcome, "code": "unhealthy", "detail": "web", "restored": True, "spec": {}}
    plane.says("GET", f"{path}/attempts/1", attempt)
    assert run("deployment", "start", DEPLOYMENT, "--output", "json") == code
    shown = capsys.readouterr()
    assert json.loads(shown.out)["outcome"] == outcome
    assert "pulled" in shown.err


def test_a_broken_chain_is_an_exit_code(run: Run, plane: ControlPlane, signed_in: kept.Kept) -> None:
    plane.says("GET", f"{TEAM}/audit/verify", {"valid": False, "entries": 3, "broken_at": 2, "reason": "hash"})
    assert run("audit", "verify") == 1


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom cli.main import app\ntry: app(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit(','.join({'requests', 'nacl', 'marshmallow', 'structlog'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "deployment" in done.stdout
