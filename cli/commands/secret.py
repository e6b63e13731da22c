"""`fairlead secret …`: values are sealed here, and leave this machine as boxes that only the node opens."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands.deployment import Deployment
from cli.problems import CommandError
from cli.screen import Output, OutputOption, say, show_list, write_json

app = typer.Typer(help="Secrets of a deployment.", no_args_is_help=True)
_COLUMNS = (("name", "name"), ("set", "set"), ("usable", "usable"), ("required", "required"), ("set at", "set_at"), ("by", "set_by"))


@app.command("list")
def list_all(deployment: Deployment, output: OutputOption = Output.TABLE) -> None:
    """Which secrets are asked for, and which are set."""
    from cli.commands.deployment import path_of
    from cli.session import open_session

    session = open_session()
    show_list(session.client.get(f"{path_of(session, deployment)}/secrets")["items"], _COLUMNS, output)


@app.command("set")
def set_one(
    deployment: Deployment,
    name: Annotated[str, typer.Argument(help="The secret's name, such as API_KEY.")],
    exact: Annotated[bool, typer.Option("--exact", help="Keep a line end at the end of stdin.")] = False,
    key_fingerprint: Annotated[str | None, typer.Option(help="Refuse to seal to any other key.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Set a secret. Its value is asked for, or read from stdin; it is never an argument."""
    from cli.commands.deployment import path_of
    from cli.sealing import fingerprint, seal
    from cli.session import open_session
    from cli.typed import hidden_value

    session = open_session()
    path = f"{path_of(session, deployment)}/secrets"
    node = session.client.get(path)
    if not node["seal_key"]:
        raise CommandError("node-has-no-key", "The deployment's node is not enrolled yet: it has no key to seal to.")
    key = fingerprint(node["seal_key"])
    if key_fingerprint not in (None, key):
        raise CommandError("key-unexpected", f"The node's key is {key}, not {key_fingerprint}. Nothing was sent.")
    value = hidden_value(f"Value of {name}", exact=exact)
    sealed = seal(node["seal_key"], team=node["team_id"], node=node["node_id"], name=name, value=value)
    session.client.put(path, {name: {"sealed": sealed}})
    if output is Output.JSON:
        write_json({"name": name, "set": True, "node_id": node["node_id"], "key_fingerprint": key})
    else:
        say(f"{name} is set, sealed to the node's key {key}.")
