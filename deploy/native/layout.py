"""Where everything of a native stack lies: one run directory, and beside it only what other accounts must reach."""

from __future__ import annotations

import hashlib
import os
import pwd
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.native.processes import make_directory, may_be_entered

ROOT = Path(__file__).resolve().parents[2]
STATE_ELSEWHERE = Path("/var/lib/fairlead")
_LONGEST_SOCKET_PATH = 90  # the kernel takes 107 bytes, and supervisord adds its process id while it binds


@dataclass(frozen=True)
class Layout:
    """The paths of one stack. Two stacks beside each other differ in `run` and in nothing else."""

    root: Path
    run: Path

    @classmethod
    def of(cls, environ: Mapping[str, str], root: Path = ROOT) -> Layout:
        """The stack that `FAIRLEAD_RUN_DIR` names, or the usual one in `.run`."""
        return cls(root, Path(environ.get("FAIRLEAD_RUN_DIR") or root / ".run").absolute())

    @property
    def name(self) -> str:
        """Short, and of this stack only; for paths outside of the run directory."""
        return hashlib.sha256(str(self.run).encode()).hexdigest()[:12]

    @property
    def number(self) -> int:
        """0 for the usual stack, more for another: which range of ports it asks for."""
        return 0 if self.run == self.root / ".run" else 1 + zlib.crc32(str(self.run).encode())

    @property
    def state(self) -> Path:
        """Data of servers with accounts of their own. Below the run directory, unless those accounts cannot get there."""
        if os.geteuid() != 0 or may_be_entered(self.run / "postgres"):
            return self.run
        return STATE_ELSEWHERE / self.name

    @property
    def postgres(self) -> Path:
        return self.state / "postgres"

    @property
    def rabbitmq(self) -> Path:
        return self.state / "rabbitmq"

    @property
    def registry(self) -> Path:
        return self.run / "registry"

    @property
    def docker(self) -> Path:
        return self.run / "docker"

    @property
    def agent(self) -> Path:
        return self.run / "agent"

    @property
    def logs(self) -> Path:
        return self.run / "logs"

    @property
    def secrets(self) -> Path:
        return self.run / "secrets"

    @property
    def certificates(self) -> Path:
        """The broker's certificate for agents, and the authority that it is of."""
        return self.secrets / "tls"

    @property
    def broker_authority(self) -> Path:
        """What agents on other machines are told to trust, for the deployer to read."""
        return self.secrets / "broker-authority.crt"

    @property
    def environments(self) -> Path:
        """What each process of ours finds in its environment, secrets included."""
        return self.secrets / "environments"

    @property
    def ports(self) -> Path:
        return self.run / "ports.json"

    @property
    def lock(self) -> Path:
        return self.run / "stack.lock"

    @property
    def supervisor_config(self) -> Path:
        return self.run / "supervisord.conf"

    @property
    def supervisor_pid(self) -> Path:
        return self.run / "supervisord.pid"

    @property
    def supervisor_socket(self) -> Path:
        return self._socket("supervisor.sock")

    @property
    def docker_exec(self) -> Path:
        """Docker's sockets and namespaces; the longest name below it has some 40 bytes."""
        inside = self.run / "docker" / "exec"
        return inside if len(str(inside)) < _LONGEST_SOCKET_PATH - 40 else Path("/run") / f"fairlead-docker-{self.name}"

    def log(self, part: str) -> Path:
        """The log file of a program."""
        return self.logs / f"{part}.log"

    def _socket(self, name: str) -> Path:
        inside = self.run / name
        return inside if len(str(inside)) < _LONGEST_SOCKET_PATH else Path("/tmp") / f"fairlead-{self.name}-{name}"  # noqa: S108 - in a name of its own, mode 700

    @property
    def account(self) -> str | None:
        """Whom Fairlead's own processes run as: the owner of the checkout when we are root, else ourselves."""
        if os.geteuid() != 0 or self.root.stat().st_uid == 0:
            return None
        return pwd.getpwuid(self.root.stat().st_uid).pw_name

    def make(self) -> None:
        """The directories, each as open as it must be."""
        make_directory(self.run)
        make_directory(self.logs)
        make_directory(self.secrets, account=self.account, mode=0o700)
        make_directory(self.environments, account=self.account, mode=0o700)
