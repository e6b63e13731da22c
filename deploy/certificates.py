"""The certificate that agents check when they reach the broker: from an authority of this installation's own, made once."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
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
class Certified:
    """A key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """(certificate, key) as PEM files; only the owner may read the key."""
        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        _write(key, self.key_pem, mode=0o600)
        _write(certificate, self.pem.encode(), mode=0o644)
        return certificate, key


@dataclass(frozen=True)
class Certificates:
    """Where an authority and a server's certificate of it lie in a directory, with their keys."""

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
    authority = _read(made.authority, made.authority_key)
    if authority is None:
        authority = make_authority("Fairlead broker authority")
        authority.write(directory, "ca")
    server = _read(made.server, made.server_key)
    if server is None or not _is_good(server, authority, names):
        issue(authority, names).write(directory, "server")
    return made


def make_authority(name: str) -> Certified:
    """An authority that vouches for servers."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = _builder(subject, subject, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    return Certified(key, builder.sign(key, hashes.SHA256()))


def issue(by: Certified, names: Sequence[str]) -> Certified:
    """A server's certificate for `names` (hosts or addresses)."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(names[0]), by.certificate.subject, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False)
    return Certified(key, builder.sign(by.key, hashes.SHA256()))


def _read(certificate: Path, key: Path) -> Certified | None:
    """None unless both are there and belong together: killed between the two files, one would stand beside another's."""
    if not (certificate.exists() and key.exists()):
        return None
    private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != found.public_key():
        return None
    return Certified(private, found)


def _is_good(server: Certified, authority: Certified, names: Sequence[str]) -> bool:
    extensions = server.certificate.extensions
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    is_of_authority = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value == issuer
    lasts = server.certificate.not_valid_after_utc > clock.now() + timedelta(days=_RENEWED_BEFORE_DAYS)
    known = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return is_of_authority and lasts and {_alternative(name) for name in names} <= set(known)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = clock.now()
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


def _write(path: Path, content: bytes, *, mode: int) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.rename(path)
