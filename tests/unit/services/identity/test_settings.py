"""Settings: production starts neither with weak hashes nor with placeholders."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel.errors import Invalid
from kernel.settings import load
from services.identity.settings import Settings
from services.identity.usecases.parts import make_parts

GOOD = {"FAIRLEAD_DATABASE_URL": "postgresql+psycopg://identity:x@127.0.0.1/identity", "FAIRLEAD_ENCRYPTION_KEYS_FILE": "/keys"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FAIRLEAD_DATABASE_URL", ""),
        ("FAIRLEAD_ENCRYPTION_KEYS_FILE", ""),
        ("FAIRLEAD_SETUP_TOKEN", "changeme"),
        ("FAIRLEAD_SMTP_PASSWORD", "password"),
        ("FAIRLEAD_OIDC_CLIENT_SECRET", "secret"),
        ("FAIRLEAD_ARGON2_MEMORY_KIB", "1024"),
        ("FAIRLEAD_ARGON2_PASSES", "1"),
        ("FAIRLEAD_REGISTRATION", "maybe"),
        ("FAIRLEAD_SMTP_SECURITY", "ssl3"),
        ("FAIRLEAD_PUBLIC_URL", "fairlead.example"),
        ("FAIRLEAD_OIDC_ISSUER", "https://issuer.example"),
        ("FAIRLEAD_CONCURRENT_HASHES", "0"),
    ],
)
def test_production_refuses_what_is_missing_weak_or_a_placeholder(variable: str, value: str) -> None:
    with pytest.raises(Invalid) as refused:
        load(Settings, GOOD | {variable: value})
    assert refused.value.code == "settings-invalid"


def test_good_settings_are_taken() -> None:
    settings = load(Settings, GOOD)
    assert settings.link("/x") == "http://127.0.0.1:8080/x"
    assert not settings.sends_mail


@pytest.mark.parametrize("text", ["", "one:changeme", "one:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="])
def test_no_process_starts_with_a_key_ring_that_is_empty_or_a_placeholder(tmp_path: Path, text: str) -> None:
    ring = tmp_path / "ring"
    ring.write_text(text)
    with pytest.raises(Invalid):
        make_parts(load(Settings, GOOD | {"FAIRLEAD_ENCRYPTION_KEYS_FILE": str(ring)}), "test")
