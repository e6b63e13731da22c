"""`python -m deploy.compose.setup <directory>`: passwords, keys, broker definitions and database roles for docker-compose.yml."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy import certificates
from deploy.native.definitions import PROVISIONER, render_for_services
from deploy.native.definitions import SERVICES as BROKER_USERS
from kernel import clock

DATABASES = ("identity", "catalog", "deployer", "audit")
KEY_FILES = {"identity": "encryption-keys", "catalog": "encryption-keys", "deployer": "signing.key", "audit": "signing.key"}
_VARIABLES = {"encryption-keys": "FAIRLEAD_ENCRYPTION_KEYS_FILE", "signing.key": "FAIRLEAD_SIGNING_KEY_FILE"}
# Containers run as nobody; a key file is theirs alone.
_NOBODY = 65534

_RABBITMQ = """\
load_definitions = /etc/rabbitmq/definitions.json
loopback_users = none
auth_mechanisms.1 = PLAIN
max_message_size = 4194304
listeners.ssl.agents = 5671
ssl_options.cacertfile = /etc/rabbitmq/tls/ca.crt
ssl_options.certfile = /etc/rabbitmq/tls/server.crt
ssl_options.keyfile = /etc/rabbitmq/tls/server.key
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
"""


def main(directory: Path, environ: Mapping[str, str]) -> None:
    """Write what is missing below `directory`; what is there stays."""
    directory.mkdir(parents=True, exist_ok=True)
    # Closed as a whole: what containers mount from it (roles.sql holds passwords) must be readable to their users.
    directory.chmod(0o700)
    passwords = _passwords(directory / "passwords.json")
    _write(directory / "postgres.env", f"POSTGRES_PASSWORD={passwords['postgres']}\n", mode=0o600)
    _write(directory / "postgres-init" / "roles.sql", _roles(passwords))
    _write(directory / "rabbitmq" / "20-fairlead.conf", _RABBITMQ)
    _certificates(directory, environ)
    definitions = directory / "definitions.json"
    if not definitions.exists():
        broker = {user: passwords[f"broker.{user}"] for user in (*BROKER_USERS, PROVISIONER)}
        _write(definitions, render_for_services(broker))
    for service, name in KEY_FILES.items():
        _key(directory / "keys" / service / name, ring=name == "encryption-keys")
    for part in (*DATABASES, "gateway"):
        _write(directory / f"{part}.env", _lines(_environment(part, passwords, environ)), mode=0o600)
    for service in DATABASES:
        url = f"postgresql+psycopg://{service}_owner:{passwords[f'database.{service}_owner']}@postgres:5432/{service}"
        _write(directory / f"{service}-migrate.env", f"FAIRLEAD_MIGRATION_DATABASE_URL={url}\n", mode=0o600)


def _certificates(directory: Path, environ: Mapping[str, str]) -> None:
    """The authority's key stays in a directory that no container mounts."""
    made = certificates.ensure(directory / "authority", [_host(environ)])
    for path in (made.authority, made.server, made.server_key):
        _write(directory / "rabbitmq-tls" / path.name, path.read_text())
    _write(directory / "keys" / "deployer" / "broker-authority.crt", made.authority.read_text())


def _host(environ: Mapping[str, str]) -> str:
    """This installation's name or address as others know it."""
    return environ.get("FAIRLEAD_HOST_NAME") or "127.0.0.1"


def _passwords(path: Path) -> dict[str, str]:
    names = ["postgres", *(f"broker.{user}" for user in (*BROKER_USERS, PROVISIONER))]
    names += [f"database.{role}" for service in DATABASES for role in (service, f"{service}_owner")]
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    # Letters and digits only: they stand in addresses, in SQL and in env files.
    made = known | {name: os.urandom(24).hex() for name in names if name not in known}
    _write(path, json.dumps(made, indent=1), mode=0o600)
    return made


def _roles(passwords: Mapping[str, str]) -> str:
    """What PostgreSQL's image runs once, on an empty volume."""
    lines = ["REVOKE ALL ON DATABASE postgres FROM PUBLIC;"]
    for service in DATABASES:
        for role in (f"{service}_owner", service):
            lines.append(f"CREATE ROLE {role} LOGIN PASSWORD '{passwords[f'database.{role}']}';")
        lines += [
            f"CREATE DATABASE {service} OWNER {service}_owner;",
            f"REVOKE ALL ON DATABASE {service} FROM PUBLIC;",
            f"GRANT CONNECT ON DATABASE {service} TO {service}, {service}_owner;",
            f"\\connect {service}",
            f"ALTER SCHEMA public OWNER TO {service}_owner;",
            "REVOKE ALL ON SCHEMA public FROM PUBLIC;",
            f"GRANT USAGE ON SCHEMA public TO {service};",
        ]
    return "\n".join(lines) + "\n"


def _environment(part: str, passwords: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    host = _host(environ)
    broker = f"{part}:{passwords[f'broker.{part}']}@rabbitmq:5672"
    values = {
        "FAIRLEAD_ENVIRONMENT": "production",
        "FAIRLEAD_LOG_FORMAT": "json",
        "FAIRLEAD_PUBLIC_URL": environ.get("FAIRLEAD_PUBLIC_URL", f"http://{host}:{environ.get('FAIRLEAD_PORT', '8080')}"),
        "FAIRLEAD_BROKER_CORE_URL": f"amqp://{broker}/core",
        **{f"FAIRLEAD_{service.upper()}_URL": f"http://{service}-web:8000" for service in DATABASES},
    }
    if part in DATABASES:
        values["FAIRLEAD_DATABASE_URL"] = f"postgresql+psycopg://{part}:{passwords[f'database.{part}']}@postgres:5432/{part}"
    if part in ("deployer", "audit", "gateway"):
        values["FAIRLEAD_BROKER_AGENTS_URL"] = f"amqp://{broker}/agents"
    if part == "deployer":
        values["FAIRLEAD_BROKER_MANAGEMENT_URL"] = f"http://{PROVISIONER}:{passwords[f'broker.{PROVISIONER}']}@rabbitmq:15672"
        values["FAIRLEAD_AGENT_BROKER_URL"] = f"amqps://{host}:{environ.get('FAIRLEAD_AGENT_PORT', '5671')}/agents"
        values["FAIRLEAD_AGENT_BROKER_AUTHORITY_FILE"] = "/run/keys/broker-authority.crt"
    if part in KEY_FILES:
        values[_VARIABLES[KEY_FILES[part]]] = f"/run/keys/{KEY_FILES[part]}"
    if part == "catalog" and environ.get("FAIRLEAD_EGRESS_ALLOWED_NETWORKS"):
        values["FAIRLEAD_EGRESS_ALLOWED_NETWORKS"] = environ["FAIRLEAD_EGRESS_ALLOWED_NETWORKS"]
    return values


def _key(path: Path, *, ring: bool) -> None:
    if path.exists():
        return
    key = base64.b64encode(os.urandom(32)).decode()
    _write(path, f"{clock.now():%Y%m}:{key}\n" if ring else f"{key}\n", mode=0o400)
    if os.geteuid() == 0:
        os.chown(path, _NOBODY, _NOBODY)


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in sorted(values.items()))


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    path.chmod(mode)


if __name__ == "__main__":
    main(Path(sys.argv[1]), os.environ)
