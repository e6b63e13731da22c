"""`fairlead team …`"""

from __future__ import annotations

from typing import Annotated

import typer

from cli.screen import Output, OutputOption, show_list, show_one

app = typer.Typer(help="Teams, and which one the command works in.", no_args_is_help=True)
_COLUMNS = (("id", "id"), ("name", "name"), ("slug", "slug"), ("role", "role"), ("chosen", "chosen"))


@app.command("list")
def list_all(output: OutputOption = Output.TABLE) -> None:
    """Your teams."""
    from cli.session import open_session

    session = open_session()
    show_list([{**team, "chosen": team["id"] == session.kept.team_id} for team in session.teams()], _COLUMNS, output)


@app.command()
def use(team: Annotated[str, typer.Argument(help="Id, slug or name.")], output: OutputOption = Output.TABLE) -> None:
    """Work in this team from now on."""
    from dataclasses import replace

    from cli import kept
    from cli.names import pick
    from cli.session import open_session

    session = open_session()
    chosen = pick(session.teams(), team, "team", by=("id", "slug", "name"))
    # Read again: listing the teams may have renewed the tokens.
    kept.save(session.file, replace(kept.load(session.file), team_id=chosen["id"], team_name=chosen["name"]))
    show_one({**chosen, "chosen": True}, _COLUMNS, output)


@app.command()
def create(
    name: Annotated[str, typer.Argument()],
    slug: Annotated[str | None, typer.Option(help="Small letters, digits and hyphens; made from the name when left out.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a team, and work in it if none is chosen yet."""
    from dataclasses import replace

    from cli import kept
    from cli.session import open_session
    from cli.typed import given

    session = open_session()
    made = session.client.post("/teams", given(name=name, slug=slug))
    known = kept.load(session.file)
    is_chosen = not session.settings.token and not known.team_id
    if is_chosen:
        kept.save(session.file, replace(known, team_id=made["id"], team_name=made["name"]))
    show_one({**made, "chosen": is_chosen}, _COLUMNS, output)
