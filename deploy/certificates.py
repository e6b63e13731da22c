"""The certificate that agents check when they reach the broker: from an authority of this installation's own, made once."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kernel import clock

# The authority is handed to each agent when it enrols: another one would cut them all off. It vouches for this broker alone.
_DAYS = 365 * 20
_RENEWED_BEFORE_DAYS = 90


@dataclass(frozen=True)
class Certificates:
    """Three PEM files of one directory, and beside them the authority's key."""

    directory: Path

    @property
    def authority(self) -> Path:
        """What agents trust."""
        return self.directory / "ca.crt"

    @property
    def authority_key(self) -> Path:
        return self.directory / "ca.key"

    @property
    def server(self) -> Path:
        return self.directory / "server.crt"

    @property
    def server_key(self) -> Path:
        return self.directory / "server.key"


def ensure(directory: Path, names: Sequence[str]) -> Certificates:
    """An authority, and a server's certificate for `names` (hosts or addresses). What is there and still good stays."""
    made = Certificates(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (made.authority.exists() and made.authority_key.exists()):
        _make_authority(made)
    if not _is_good(made, names):
        _make_server(made, names)
    return made


def _make_authority(made: Certificates) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fairlead broker authority")])
    builder = _builder(name, name, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    _write(made.authority_key, _private(key), mode=0o600)
    _write(made.authority, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _make_server(made: Certificates, names: Sequence[str]) -> None:
    authority = x509.load_pem_x509_certificate(made.authority.read_bytes())
    authority_key = serialization.load_pem_private_key(made.authority_key.read_bytes(), password=None)
    assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    builder = _builder(subject, authority.subject, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    signed = builder.sign(authority_key, hashes.SHA256())
    _write(made.server_key, _private(key), mode=0o600)
    _write(made.server, signed.public_bytes(serialization.Encoding.PEM))


def _is_good(made: Certificates, names: Sequence[str]) -> bool:
    if not (made.server.exists() and made.server_key.exists()):
        return False
    authority = x509.load_pem_x509_certificate(made.authority.read_bytes())
    server = x509.load_pem_x509_certificate(made.server.read_bytes())
    known = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    is_of_authority = server.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value == (
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())  # type: ignore[arg-type]  # ours is of a curve
    )
    # Killed between the two files, a key would stand beside another key's certificate.
    key = serialization.load_pem_private_key(made.server_key.read_bytes(), password=None)
    is_of_key = key.public_key() == server.public_key()
    lasts = server.not_valid_after_utc > clock.now() + timedelta(days=_RENEWED_BEFORE_DAYS)
    return is_of_authority and is_of_key and lasts and {_alternative(name) for name in names} <= set(known)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now: datetime = clock.now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # nodes whose clock is behind
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        stream.write(content)
    beside.rename(path)
