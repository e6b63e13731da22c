"""What a log-in keeps on this machine: address, tokens and the chosen team, in a file for its owner alone."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.problems import CommandError


@dataclass(frozen=True)
class Kept:
    """Empty text: nothing is kept."""

    url: str = ""
    email: str = ""
    access_token: str = ""
    refresh_token: str = ""
    team_id: str = ""
    team_name: str = ""

    def __repr__(self) -> str:
        return f"Kept(url={self.url!r}, email={self.email!r}, …)"


def file_of(environ: Mapping[str, str]) -> Path:
    """`~/.config/fairlead/config.json`, or where XDG_CONFIG_HOME says."""
    base = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or Path.home()) / ".config"
    return Path(base) / "fairlead" / "config.json"


def load(file: Path) -> Kept:
    """What is kept; nothing if there is no file. Raises CommandError for a file that is not ours."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Kept()
    except (OSError, ValueError) as error:
        raise CommandError("config-unreadable", f"{file} cannot be read ({type(error).__name__}). Remove it and sign in again.") from error
    names = [field.name for field in dataclasses.fields(Kept)]
    if not isinstance(document, dict) or not all(isinstance(document.get(name, ""), str) for name in names):
        raise CommandError("config-unreadable", f"{file} does not hold what a log-in keeps. Remove it and sign in again.")
    return Kept(**{name: document[name] for name in names if name in document})


def save(file: Path, kept: Kept) -> None:
    """The file as a whole or not at all; never readable by others, not even for a moment."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp makes files of mode 600.
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".config-")
        with os.fdopen(handle, "w", encoding="utf-8") as new:
            json.dump(dataclasses.asdict(kept), new, indent=2)
            new.flush()
            os.fsync(new.fileno())
        os.replace(name, file)
    except OSError as error:
        raise CommandError("config-unwritable", f"{file} cannot be written: {error.strerror}.") from error


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """One command at a time: a refresh token that is used twice ends the session."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise CommandError("config-unwritable", f"{file.parent} cannot be written: {error.strerror}.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
