"""`fairlead login`, `logout`, `whoami`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.problems import CommandError
from cli.screen import Output, OutputOption, say, show_one, write_json

if TYPE_CHECKING:
    from cli.client import Client
    from cli.kept import Kept

_PERSON = (("e-mail", "email"), ("name", "name"), ("teams", "team_names"), ("works in", "team"), ("control plane", "url"))


def add_to(app: typer.Typer) -> None:
    app.command()(login)
    app.command()(logout)
    app.command()(whoami)


def login(
    url: Annotated[str | None, typer.Option(help="The control plane, such as https://fairlead.example.org.")] = None,
    email: Annotated[str | None, typer.Option(help="Asked for when left out.")] = None,
    code: Annotated[str | None, typer.Option(help="Of the second factor; asked for when it is needed.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Sign in and keep it. The password is asked for, or taken from FAIRLEAD_PASSWORD."""
    from cli import kept, session
    from cli.client import Client
    from cli.typed import hidden_line

    said = session.read_settings(os.environ)
    file = kept.file_of(os.environ)
    before = kept.load(file)
    client = Client(
        session.address(url or said.url or before.url or _asked("Control plane", "http://127.0.0.1:8080")), ca_file=said.ca_file
    )
    _warn_of_open_lines(client.base_url)
    person = email or before.email or _asked("E-mail")
    client.token, client.refresh_token = _sign_in(client, person, said.password or hidden_line("Password"), code)
    me = client.get("/me")
    team = _team_of(me["teams"], before, client.base_url)
    known = kept.Kept(
        url=client.base_url,
        email=me["email"],
        access_token=client.token,
        refresh_token=client.refresh_token,
        team_id=team.get("id", ""),
        team_name=team.get("name", ""),
    )
    kept.save(file, known)
    _show(me, known, output)


def _asked(label: str, default: str | None = None) -> str:
    return str(typer.prompt(label, default=default, err=True))


def _warn_of_open_lines(url: str) -> None:
    from urllib.parse import urlsplit

    address = urlsplit(url)
    if address.scheme == "http" and address.hostname not in ("127.0.0.1", "::1", "localhost"):
        sys.stderr.write(f"fairlead: warning: {url} is not encrypted; the password can be read on its way.\n")


def _sign_in(client: Client, email: str, password: str, code: str | None) -> tuple[str, str]:
    from cli.client import ApiError

    body = {"email": email, "password": password, "code": code}
    try:
        answer = client.post("/auth/login", body)
    except ApiError as error:
        if error.code != "second-factor-required" or not sys.stdin.isatty():
            raise
        answer = client.post("/auth/login", {**body, "code": _asked("Code of the second factor")})
    return answer["access_token"], answer["refresh_token"]


def _team_of(teams: list[Any], before: Kept, url: str) -> dict[str, Any]:  # Any: the API's JSON
    """The one that was chosen before, or the only one."""
    chosen = [team for team in teams if before.url == url and team["id"] == before.team_id]
    found = chosen or (teams if len(teams) == 1 else [])
    return dict(found[0]) if found else {}


def _show(me: dict[str, Any], known: Kept, output: Output) -> None:  # Any: the API's JSON
    names = ", ".join(f"{team['name']} ({team['role']})" for team in me["teams"])
    facts = {"team_id": known.team_id or None, "team": known.team_name or "none chosen: fairlead team use NAME", "url": known.url}
    show_one({**me, **facts, "team_names": names}, _PERSON, output)


def logout(output: OutputOption = Output.TABLE) -> None:
    """End the session and forget it here."""
    from cli import kept, session

    file = kept.file_of(os.environ)
    known = kept.load(file)
    if not known.access_token:
        raise CommandError("signed-out", "Nobody is signed in.")
    client = session.KeptClient(file, known, ca_file=session.read_settings(os.environ).ca_file)
    try:
        client.post("/auth/logout", {"refresh_token": known.refresh_token})
    finally:
        # Whatever the control plane says: this machine forgets.
        kept.save(file, kept.Kept(url=known.url, email=known.email, team_id=known.team_id, team_name=known.team_name))
    if output is Output.JSON:
        write_json({"signed_out": True})
    else:
        say(f"Signed out of {known.url}.")


# Any: the API's JSON.
def whoami(output: OutputOption = Output.TABLE) -> None:
    """Who the command speaks as, and in which team."""
    from dataclasses import replace

    from cli.client import ApiError
    from cli.session import open_session

    session = open_session()
    try:
        me = session.client.get("/me")
    except ApiError as error:
        if error.status != 403 or not session.settings.token:
            raise
        # A team's token, or one that may not read its owner's account: its teams are all that there is to know.
        me = {"email": None, "name": "an API token", "teams": session.teams()}
    team: dict[str, Any] = next((one for one in me["teams"] if one["id"] == _team_id(session)), {})
    known = replace(session.kept, url=session.client.base_url, team_id=team.get("id", ""), team_name=team.get("name", ""))
    _show(me, known, output)


def _team_id(session: Any) -> str | None:  # a Session, which is loaded late
    try:
        return str(session.team_id)
    except CommandError:
        return None
