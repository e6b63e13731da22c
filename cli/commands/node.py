"""`fairlead node …`"""

from __future__ import annotations

from typing import Annotated

import typer

from cli.screen import Output, OutputOption, say, show_list, show_one, write_json

app = typer.Typer(help="Nodes: machines with an agent.", no_args_is_help=True)
_COLUMNS = (("id", "id"), ("name", "name"), ("status", "status"), ("agent", "agent_version"), ("last seen", "last_seen_at"))
_FIELDS = (*_COLUMNS, ("engine", "engine"), ("description", "description"), ("enrolled", "enrolled_at"), ("seal key", "key_fingerprint"))
Node = Annotated[str, typer.Argument(help="Id or name.")]


@app.command("list")
def list_all(output: OutputOption = Output.TABLE) -> None:
    """The team's nodes."""
    from cli.session import open_session

    show_list(open_session().all("/nodes"), _COLUMNS, output)


@app.command()
def create(
    name: Annotated[str, typer.Argument()],
    description: Annotated[str, typer.Option()] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a node; `fairlead node install` tells what to run on its machine."""
    from cli.session import open_session

    session = open_session()
    show_one(session.client.post(f"{session.team}/nodes", {"name": name, "description": description}), _COLUMNS, output)


@app.command()
def install(node: Node, output: OutputOption = Output.TABLE) -> None:
    """Print the line that enrols a machine as this node: good for one use and one hour."""
    from cli.session import open_session

    session = open_session()
    enrollment = session.client.post(f"{session.team}/nodes/{session.named('/nodes', node, 'node')}/enrollment")
    if output is Output.JSON:
        write_json(enrollment)
    else:
        say(enrollment["command"])


@app.command()
def show(node: Node, output: OutputOption = Output.TABLE) -> None:
    """One node."""
    from cli.sealing import fingerprint
    from cli.session import open_session

    session = open_session()
    found = session.client.get(f"{session.team}/nodes/{session.named('/nodes', node, 'node')}")
    key = found.get("seal_key")
    show_one({**found, "key_fingerprint": fingerprint(key) if key else None}, _FIELDS, output)
