"""Who the command speaks as, to which control plane, in which team."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cli import kept
from cli.client import Client
from cli.names import is_id, pick
from cli.problems import CommandError
from cli.settings import Settings
from kernel import settings


class KeptClient(Client):
    """Renews what the log-in has kept, and keeps it again; commands that run at once share the new tokens."""

    def __init__(self, file: Path, signed_in: kept.Kept, *, ca_file: Path | None = None) -> None:
        super().__init__(signed_in.url, signed_in.access_token, ca_file=ca_file)
        self.refresh_token = signed_in.refresh_token
        self._file = file

    def _renew(self) -> None:
        with kept.locked(self._file):
            now = kept.load(self._file)
            if now.url == self.base_url and now.access_token not in ("", self.token):
                self.token, self.refresh_token = now.access_token, now.refresh_token
                return
            super()._renew()
            if self.refresh_token:
                kept.save(self._file, replace(now, access_token=self.token or "", refresh_token=self.refresh_token))


@dataclass
class Session:
    """What each command begins with. Any in commands is the API's JSON."""

    client: Client
    file: Path
    kept: kept.Kept
    settings: Settings

    @cached_property
    def team_id(self) -> str:
        """Of FAIRLEAD_TEAM, else the chosen one, else the only one there is. Raises CommandError `team-unclear`."""
        wanted = self.settings.team
        if wanted:
            return wanted if is_id(wanted) else str(pick(self.teams(), wanted, "team", by=("slug", "name"))["id"])
        if self.kept.team_id and not self.settings.token:
            return self.kept.team_id
        found = self.teams()
        mine = [team for team in found if team["id"] == self.kept.team_id] or found
        if len(mine) != 1:
            raise CommandError("team-unclear", "Say which team: `fairlead team use NAME`, or FAIRLEAD_TEAM.")
        return str(mine[0]["id"])

    @property
    def team(self) -> str:
        """The path below which a team's things are."""
        return f"/teams/{self.team_id}"

    def teams(self) -> list[Any]:
        return list(self.client.all("/teams", limit=200))

    def all(self, path: str, **query: object) -> list[Any]:
        """Every item of a list of the team."""
        return list(self.client.all(f"{self.team}{path}", **{"limit": 200, **query}))

    def named(self, path: str, given: str, what: str) -> str:
        """The id of what was named by id or by name."""
        return given if is_id(given) else str(pick(self.all(path), given, what)["id"])


def open_session(environ: Mapping[str, str] = os.environ) -> Session:
    """By FAIRLEAD_TOKEN, else by what a log-in kept. Raises CommandError `signed-out`."""
    said = read_settings(environ)
    file = kept.file_of(environ)
    known = kept.load(file)
    url = address(said.url or known.url)
    if said.token:
        return Session(Client(url, said.token, ca_file=said.ca_file), file, known, said)
    # A token goes to the control plane that gave it, and to no other.
    if not known.access_token or url != known.url:
        raise CommandError("signed-out", f"Nobody is signed in at {url}. Run `fairlead login`, or set FAIRLEAD_TOKEN.")
    return Session(KeptClient(file, known, ca_file=said.ca_file), file, known, said)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """What the environment says. Raises CommandError `ca-file-wrong` for an authority's file that is not there."""
    said = settings.load(Settings, environ)
    if said.ca_file is not None and not said.ca_file.is_file():
        raise CommandError("ca-file-wrong", f"FAIRLEAD_CA_FILE names {said.ca_file}, which is no file.")
    return said


def address(url: str) -> str:
    """A control plane's address without a slash at its end. Raises CommandError."""
    if not url:
        raise CommandError("signed-out", "No control plane is known. Run `fairlead login --url …`, or set FAIRLEAD_URL and FAIRLEAD_TOKEN.")
    if not url.startswith(("http://", "https://")):
        raise CommandError("url-wrong", f"{url} is not the address of a control plane: it begins with http:// or https://.")
    return url.rstrip("/")
