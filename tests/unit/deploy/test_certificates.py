"""The broker's certificate for agents: kept while it is good, renewed under the same authority, never for another name."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from deploy.certificates import Certificates, ensure
from kernel import clock


def _read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _check(made: Certificates, name: str) -> None:
    """Raises VerificationError when a client that trusts the authority would refuse the server under `name`."""
    verifier = PolicyBuilder().store(Store([_read(made.authority)])).build_server_verifier(x509.DNSName(name))
    verifier.verify(_read(made.server), [])


def test_a_client_that_trusts_the_authority_takes_the_server_under_its_name_only(tmp_path: Path) -> None:
    made = ensure(tmp_path / "tls", ["fairlead.example.org", "10.0.0.7"])
    _check(made, "fairlead.example.org")
    with pytest.raises(VerificationError):
        _check(made, "other.example.org")
    other = ensure(tmp_path / "other", ["fairlead.example.org"])
    with pytest.raises(VerificationError):
        PolicyBuilder().store(Store([_read(other.authority)])).build_server_verifier(x509.DNSName("fairlead.example.org")).verify(
            _read(made.server), []
        )
    ssl.create_default_context(cadata=made.authority.read_text())
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.server, made.server_key)


def test_keys_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    made = ensure(tmp_path / "tls", ["a"])
    assert [path.stat().st_mode & 0o777 for path in (made.authority_key, made.server_key, made.directory)] == [0o600, 0o600, 0o700]


def test_what_is_good_stays_and_another_name_or_age_renews_the_server_under_the_same_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ensure(tmp_path, ["a.example.org"])
    authority, server = made.authority.read_bytes(), made.server.read_bytes()
    ensure(tmp_path, ["a.example.org"])
    assert (made.authority.read_bytes(), made.server.read_bytes()) == (authority, server)
    ensure(tmp_path, ["a.example.org", "10.0.0.7"])
    renamed = made.server.read_bytes()
    assert renamed != server
    later = _read(made.server).not_valid_after_utc - timedelta(days=10)
    monkeypatch.setattr(clock, "now", lambda: later)
    ensure(tmp_path, ["a.example.org", "10.0.0.7"])
    assert made.server.read_bytes() != renamed
    assert made.authority.read_bytes() == authority
    assert clock.now() == later


def test_another_authority_renews_the_server(tmp_path: Path) -> None:
    made = ensure(tmp_path, ["a.example.org"])
    made.authority.unlink()
    ensure(tmp_path, ["a.example.org"])
    _check(made, "a.example.org")


def test_a_key_that_was_written_without_its_certificate_is_made_anew(tmp_path: Path) -> None:
    made = ensure(tmp_path, ["a.example.org"])
    made.server_key.write_bytes(ensure(tmp_path / "other", ["a.example.org"]).server_key.read_bytes())
    ensure(tmp_path, ["a.example.org"])
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.server, made.server_key)
