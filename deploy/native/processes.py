"""Running server programs: as which account, with how many files, how to wait for them, how to end them."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.native.errors import StackError
from kernel import clock

POLL_SECONDS = 0.05


def service_account(name: str) -> str | None:
    """The system account to run a server as: `name` when we are root and it exists, else None (ourselves)."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError:
        return None


def own(path: Path, account: str | None) -> None:
    """Gives one file or directory to `account`; nothing to do when it is ourselves."""
    if account is not None:
        entry = pwd.getpwnam(account)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def make_directory(path: Path, *, account: str | None = None, mode: int = 0o755) -> Path:
    """`path` with `mode`, owned by `account`; its parents are made as they usually are."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    own(path, account)
    return path


def write_file(path: Path, text: str, *, account: str | None = None, mode: int = 0o644) -> Path:
    """Writes `text` so that nobody ever sees half of it, or sees it with a wider mode."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    draft.chmod(mode)
    own(draft, account)
    draft.replace(path)
    return path


def may_be_entered(path: Path) -> bool:
    """Whether every directory above `path` that is there lets other accounts pass; a checkout below /root does not."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents if parent.exists())


def require_entry(path: Path, account: str | None) -> None:
    """Refuses a directory that the server's account could not reach. Raises StackError."""
    if account is not None and not may_be_entered(path):
        raise StackError(account, f"the account {account} cannot enter {path}: a directory above it is closed to others")


def raise_open_file_limit() -> int:
    """Raises our soft limit of open files to the hard one; children inherit it. Returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def find_program(name: str, *directories: str) -> str:
    """The path of an installed program. Raises StackError when it is not there."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(("/usr/sbin", "/usr/local/sbin", *directories)))
    if found is None:
        raise StackError(name, "is not installed; run `make install`")
    return found


def answers(port: int, *, host: str = "127.0.0.1") -> bool:
    """Whether somebody accepts TCP connections there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def wait_until(check: Callable[[], bool], *, seconds: float, part: str, problem: str, log: Path | None = None) -> None:
    """Returns once `check` says yes. Raises StackError(part, problem) after `seconds`."""
    deadline = clock.monotonic() + seconds
    while not check():
        if clock.monotonic() > deadline:
            raise StackError(part, f"{problem} within {seconds:.0f} s", log=log)
        time.sleep(POLL_SECONDS)


def run(command: Sequence[str], *, part: str, account: str | None = None, env: Mapping[str, str] | None = None,
        stdin: str = "", seconds: float = 120) -> str:  # fmt: skip
    """What a short command prints. Raises StackError with its last words when it fails."""
    result = subprocess.run(
        list(command), input=stdin, text=True, capture_output=True, timeout=seconds, user=account, group=group_of(account),
        env=None if env is None else dict(env), cwd="/", check=False,
    )  # fmt: skip
    if result.returncode != 0:
        words = (result.stderr or result.stdout).strip().splitlines()[-5:]
        raise StackError(part, f"`{command[0]}` ended with {result.returncode}: {' | '.join(words)}")
    return result.stdout


def group_of(account: str | None) -> int | None:
    """The main group of `account`, or None for our own."""
    return None if account is None else pwd.getpwnam(account).pw_gid


@dataclass(frozen=True)
class Command:
    """A server program in the foreground: what supervisord runs, and what tests run without it."""

    part: str
    arguments: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    account: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 30


class Server:
    """One running `Command`, for those who need no supervisor: start, stop, kill, and start again."""

    def __init__(self, command: Command, *, log: Path, is_ready: Callable[[], bool], start_seconds: float = 60) -> None:
        self.command = command
        self.log = log
        self._is_ready = is_ready
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def launch(self) -> None:
        """Starts the process and returns at once; `wait_ready` tells when it answers."""
        if self.pid is not None:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                list(self.command.arguments), cwd=self.command.directory, env=dict(self.command.environment),
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True,
                user=self.command.account, group=group_of(self.command.account), extra_groups=[] if self.command.account else None,
            )  # fmt: skip

    def wait_ready(self) -> None:
        """Returns once the server answers. Raises StackError when it ended or stayed silent."""

        def check() -> bool:
            if self.pid is None:
                raise StackError(self.command.part, "ended while it was starting", log=self.log)
            return self._is_ready()

        wait_until(check, seconds=self._start_seconds, part=self.command.part, problem="does not answer", log=self.log)

    def start(self) -> None:
        """Starts it and waits until it answers."""
        self.launch()
        self.wait_ready()

    def stop(self) -> None:
        """Ends it in good order, and by force when it takes too long."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(self.command.stop_signal)
        try:
            self._process.wait(self.command.stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends it at once (SIGKILL), as a fault would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
