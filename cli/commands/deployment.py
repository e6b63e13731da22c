"""`fairlead deployment …`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.screen import Output, OutputOption, plain, progress, say, show_list, show_one, write_json

if TYPE_CHECKING:
    from cli.session import Session

app = typer.Typer(help="Deployments: a version at a place on a node.", no_args_is_help=True)
_COLUMNS = (
    ("id", "id"),
    ("node", "node_name"),
    ("prefix", "prefix"),
    ("project", "project_name"),
    ("version", "version_name"),
    ("status", "status"),
    ("sync", "sync.state"),
    ("protected", "protected"),
)
_FIELDS = (
    *_COLUMNS,
    ("node is", "node_status"),
    ("startable", "startable"),
    ("last attempt", "last_attempt.number"),
    ("its outcome", "last_attempt.outcome"),
    ("code", "last_attempt.code"),
    ("detail", "last_attempt.detail"),
    ("note", "note"),
)
_ATTEMPT = (
    ("number", "number"),
    ("outcome", "outcome"),
    ("code", "code"),
    ("by", "started_by_name"),
    ("started", "started_at"),
    ("finished", "finished_at"),
    ("detail", "detail"),
)
_EVENT = (("number", "number"), ("at", "at"), ("attempt", "attempt"), ("kind", "kind"), ("container", "container"), ("message", "message"))
_STEP = (("action", "action"), ("container", "name"), ("image", "image"), ("reason", "reason"), ("downtime", "downtime"))
# How long after its deadline an attempt may take to be told of.
_GRACE_SECONDS = 60

Deployment = Annotated[str, typer.Argument(help="Id, or PREFIX, PREFIX@VERSION, NODE/PREFIX or NODE/PREFIX@VERSION where one fits.")]
Attempt = Annotated[int | None, typer.Option(min=1, help="Only of this attempt.")]


def path_of(session: Session, given: str) -> str:
    """The path of the deployment that was named. Raises CommandError."""
    from cli.names import deployment_names, is_id, pick_called

    if is_id(given):
        return f"{session.team}/deployments/{given}"
    prefix = given.rpartition("/")[2].partition("@")[0]
    found = pick_called(session.all("/deployments", prefix=prefix), given, "deployment", deployment_names)
    return f"{session.team}/deployments/{found['id']}"


@app.command("list")
def list_all(
    node: Annotated[str | None, typer.Option(help="Id or name.")] = None,
    project: Annotated[str | None, typer.Option(help="Id or name.")] = None,
    prefix: Annotated[str | None, typer.Option()] = None,
    status: Annotated[str | None, typer.Option()] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """The team's deployments."""
    from cli.session import open_session

    session = open_session()
    node_id = session.named("/nodes", node, "node") if node else None
    project_id = session.named("/projects", project, "project") if project else None
    show_list(session.all("/deployments", node=node_id, project=project_id, prefix=prefix, status=status), _COLUMNS, output)


@app.command()
def create(
    version: Annotated[str, typer.Argument(help="Id, or PROJECT/VERSION; PROJECT alone for a versionless one.")],
    node: Annotated[str, typer.Argument(help="Id or name.")],
    prefix: Annotated[str, typer.Argument(help="Its containers are called PREFIX-….")],
    note: Annotated[str, typer.Option()] = "",
    protected: Annotated[bool, typer.Option("--protected", help="Keep others off the place.")] = False,
    config: Annotated[str | None, typer.Option(help="A JSON file of configuration, - for stdin.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say that a version shall be at a place; `start` brings it there."""
    from cli.commands.project import version_id
    from cli.session import open_session
    from cli.typed import json_object

    body: dict[str, object] = {"prefix": prefix, "note": note, "protected": protected, "config": json_object(config)}
    session = open_session()
    body |= {"version_id": version_id(session, version), "node_id": session.named("/nodes", node, "node")}
    show_one(session.client.post(f"{session.team}/deployments", body), _COLUMNS, output)


@app.command()
def show(deployment: Deployment, output: OutputOption = Output.TABLE) -> None:
    """One deployment, and how its last attempt went."""
    from cli.session import open_session

    session = open_session()
    show_one(session.client.get(path_of(session, deployment)), _FIELDS, output)


@app.command()
def plan(deployment: Deployment, output: OutputOption = Output.TABLE) -> None:
    """What a start would do on the node now."""
    from cli.session import open_session

    session = open_session()
    found = session.client.post(f"{path_of(session, deployment)}/plan")
    if output is Output.JSON:
        return write_json(found)
    show_list(found["actions"], _STEP, output)
    for one in found["blocked"]:
        say(f"blocked by {one['code']}: {plain(one['message'])}")
    say(f"fingerprint: {found['fingerprint']}")
    return None


@app.command()
def start(
    deployment: Deployment,
    follow: Annotated[bool, typer.Option(help="Show how it goes; exit 0 only when it succeeded.")] = True,
    plan_fingerprint: Annotated[str | None, typer.Option(help="Refuse when anything has changed since this plan.")] = None,
    wait_for_node: Annotated[int, typer.Option(metavar="SECONDS", min=0, help="Wait for a node that is away.")] = 0,
    timeout: Annotated[int, typer.Option(metavar="SECONDS", min=1, help="Then the attempt has failed.")] = 900,
    output: OutputOption = Output.TABLE,
) -> None:
    """Start a deployment, and follow it to its end."""
    from cli.session import open_session
    from cli.typed import given

    session = open_session()
    path = path_of(session, deployment)
    body = given(plan_fingerprint=plan_fingerprint, wait_for_node_seconds=wait_for_node, timeout_seconds=timeout)
    attempt = session.client.post(f"{path}/start", body)["attempt"]
    if follow:
        attempt = _followed(session, path, attempt["number"], seconds=wait_for_node + timeout + _GRACE_SECONDS, output=output)
    if output is Output.JSON:
        write_json(attempt)
    elif not follow:
        say(f"attempt {attempt['number']} was started")
    if follow and attempt["outcome"] != "succeeded":
        raise typer.Exit(1)


# Any: the API's JSON.
def _followed(session: Session, path: str, number: int, *, seconds: float, output: Output) -> dict[str, Any]:
    """The attempt as it ended."""
    from cli.follow import follow

    try:
        follow(session.client, f"{path}/events/stream?attempt={number}", seconds=seconds, tell=lambda event: progress(event, output))
    except KeyboardInterrupt:
        say(f"Attempt {number} goes on. `fairlead deployment cancel {path.rpartition('/')[2]}` would undo it.", Output.JSON)
        raise
    attempt: dict[str, Any] = session.client.get(f"{path}/attempts/{number}")
    attempt.pop("spec", None)
    say(f"attempt {number}: {_ending(attempt)}", output)
    return attempt


def _ending(attempt: dict[str, Any]) -> str:  # Any: the API's JSON
    said = [str(attempt["outcome"])]
    if attempt["outcome"] != "succeeded":
        said += [plain(f"({attempt['code']}: {attempt['detail']})")]
        said += ["What ran before still runs."] if attempt["restored"] else []
    return " ".join(said)


@app.command()
def cancel(deployment: Deployment, output: OutputOption = Output.TABLE) -> None:
    """Ask the node to undo the attempt that it works on."""
    from cli.session import open_session

    session = open_session()
    show_one(session.client.post(f"{path_of(session, deployment)}/cancel")["attempt"], _ATTEMPT, output)


@app.command()
def attempts(deployment: Deployment, output: OutputOption = Output.TABLE) -> None:
    """Every attempt, newest first."""
    from cli.session import open_session

    session = open_session()
    show_list(list(session.client.all(f"{path_of(session, deployment)}/attempts", limit=200)), _ATTEMPT, output)


@app.command()
def events(deployment: Deployment, attempt: Attempt = None, output: OutputOption = Output.TABLE) -> None:
    """What happened, in order."""
    from cli.session import open_session

    session = open_session()
    path, found, after = f"{path_of(session, deployment)}/events", [], 0
    while True:
        page = session.client.get(path, attempt=attempt, after=after, limit=500)
        found += page["items"]
        after = page["next_after"]
        if not page["more"]:
            break
    show_list(found, _EVENT, output)
