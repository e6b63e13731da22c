"""A private image registry on loopback, behind a password."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from deploy.native.processes import Command, Server, find_program, make_directory, run, write_file
from kernel import clock

USER = "fairlead"


@dataclass(frozen=True)
class Registry:
    """Where a registry keeps its images, where it listens, and who may come in."""

    directory: Path
    port: int
    password: str
    user: str = USER

    @property
    def host(self) -> str:
        """The first part of its images' names. Docker takes plain HTTP from loopback."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}"


def prepare(registry: Registry) -> Command:
    """Writes the registry's files and returns the command that runs it."""
    make_directory(registry.directory, mode=0o700)
    # Five rounds: the password is 256 random bits, and each request of a push is checked anew.
    line = run([find_program("htpasswd"), "-n", "-i", "-B", "-C", "5", registry.user], part="registry", stdin=registry.password)
    password_file = write_file(registry.directory / "htpasswd", line.strip() + "\n", mode=0o600)
    config = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(registry.directory / "data")},
            "cache": {"blobdescriptor": "inmemory"},
            "delete": {"enabled": True},
        },
        "http": {"addr": registry.host, "secret": clock.random_token()},
        "auth": {"htpasswd": {"realm": "fairlead", "path": str(password_file)}},
    }
    config_file = write_file(registry.directory / "config.yml", json.dumps(config), mode=0o600)  # JSON is YAML
    return Command(
        part="registry",
        arguments=(find_program("docker-registry"), "serve", str(config_file)),
        directory=registry.directory,
        environment={"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none", "GOMAXPROCS": "2"},
        stop_seconds=10,
    )


def is_ready(registry: Registry) -> bool:
    """Whether the registry lets its user in."""
    credentials = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    request = Request(f"{registry.url}/v2/", headers={"Authorization": f"Basic {credentials}"})  # noqa: S310 - fixed scheme
    try:
        with urlopen(request, timeout=5) as response:  # noqa: S310 - fixed scheme
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


class RegistryServer(Server):
    """A registry that runs without a supervisor; tests use it."""

    def __init__(self, directory: Path, port: int, *, password: str = "") -> None:
        self.registry = Registry(directory, port, password or clock.random_token())
        super().__init__(
            prepare(self.registry),
            log=directory.with_name(f"{directory.name}.log"),
            is_ready=lambda: is_ready(self.registry),
            start_seconds=60,
        )

    @property
    def url(self) -> str:
        """Its address."""
        return self.registry.url

    @property
    def host(self) -> str:
        """The first part of its images' names."""
        return self.registry.host
