"""`fairlead registry …`"""

from __future__ import annotations

from typing import Annotated

import typer

from cli.screen import Output, OutputOption, show_list, show_one

app = typer.Typer(help="Registries: where images are kept.", no_args_is_help=True)
_COLUMNS = (("id", "id"), ("name", "name"), ("type", "type"), ("host", "host"), ("user", "username"))
_CHECK = (("reachable", "reachable"), ("authenticated", "authenticated"), ("problem", "problem"), ("detail", "detail"))
Registry = Annotated[str, typer.Argument(help="Id or name.")]


@app.command("list")
def list_all(output: OutputOption = Output.TABLE) -> None:
    """The team's registries."""
    from cli.session import open_session

    show_list(open_session().all("/registries"), _COLUMNS, output)


@app.command()
def add(
    name: Annotated[str, typer.Argument()],
    type: Annotated[str, typer.Option(help="docker-hub, github, gitlab, google, azure, v2 or unchecked.")] = "v2",
    url: Annotated[str | None, typer.Option()] = None,
    namespace: Annotated[str | None, typer.Option()] = None,
    username: Annotated[str | None, typer.Option(help="Its password is asked for, or read from FAIRLEAD_REGISTRY_PASSWORD.")] = None,
    verify_tls: Annotated[bool, typer.Option()] = True,
    output: OutputOption = Output.TABLE,
) -> None:
    """Add a registry."""
    from cli.session import open_session
    from cli.typed import given, hidden_line

    session = open_session()
    password = (session.settings.registry_password or hidden_line("Password of the registry")) if username else None
    body = given(name=name, type=type, url=url, namespace=namespace, username=username, password=password)
    body |= {} if verify_tls else {"verify_tls": False}
    show_one(session.client.post(f"{session.team}/registries", body), _COLUMNS, output)


@app.command()
def check(registry: Registry, output: OutputOption = Output.TABLE) -> None:
    """Is it reachable, and does it let us in? Exits 1 if not."""
    from cli.session import open_session

    session = open_session()
    verdict = session.client.post(f"{session.team}/registries/{session.named('/registries', registry, 'registry')}/check")
    show_one(verdict, _CHECK, output)
    if not (verdict["reachable"] and verdict["authenticated"]):
        raise typer.Exit(1)


@app.command()
def tags(
    registry: Registry,
    repository: Annotated[str, typer.Argument()],
    query: Annotated[str | None, typer.Option(help="Only tags that hold this text.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """The tags of a repository."""
    from cli.session import open_session

    session = open_session()
    path = f"/registries/{session.named('/registries', registry, 'registry')}/tags"
    show_list(session.all(path, repository=repository, query=query), (("tag", "name"),), output)
