"""`fairlead audit` and `fairlead audit verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.screen import Output, OutputOption, show_list, show_one

app = typer.Typer(help="Who did what: the team's audit log, newest first.", invoke_without_command=True)
_COLUMNS = (
    ("at", "at"),
    ("who", "who"),
    ("action", "action"),
    ("on", "resource.name"),
    ("outcome", "outcome"),
    ("from", "address"),
)
_VERDICT = (
    ("valid", "valid"),
    ("entries", "entries"),
    ("first", "first"),
    ("last", "last"),
    ("broken at", "broken_at"),
    ("reason", "reason"),
)


@app.callback()
def search(
    context: typer.Context,
    query: Annotated[str | None, typer.Option(help="Words to look for.")] = None,
    action: Annotated[str | None, typer.Option(help="Such as deployer.deployment.started.")] = None,
    outcome: Annotated[str | None, typer.Option(help="allowed or refused.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """Search the audit log."""
    from itertools import islice

    from cli.session import open_session

    if context.invoked_subcommand is not None:
        return
    session = open_session()
    found = session.client.all(f"{session.team}/audit", limit=min(limit, 200), query=query, action=action, outcome=outcome)
    entries = [{**entry, "who": entry["actor"]["name"] or entry["actor"]["kind"]} for entry in islice(found, limit)]
    show_list(entries, _COLUMNS, output)


@app.command()
def verify(output: OutputOption = Output.TABLE) -> None:
    """Recompute the chain; exits 1 if it is broken."""
    from cli.session import open_session

    session = open_session()
    verdict = session.client.get(f"{session.team}/audit/verify")
    show_one(verdict, _VERDICT, output)
    if not verdict["valid"]:
        raise typer.Exit(1)
