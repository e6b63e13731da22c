"""`fairlead project …`, `fairlead version …` and `fairlead image …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli.problems import CommandError
from cli.screen import Output, OutputOption, show_list, show_one

if TYPE_CHECKING:
    from cli.session import Session

app = typer.Typer(help="Projects: what a team delivers.", no_args_is_help=True)
versions = typer.Typer(help="Versions of a project.", no_args_is_help=True)
images = typer.Typer(help="Images of a version.", no_args_is_help=True)

_PROJECT = (("id", "id"), ("name", "name"), ("type", "type"), ("versions", "version_count"))
_VERSION = (
    ("id", "id"),
    ("name", "name"),
    ("type", "type"),
    ("images", "image_count"),
    ("mutable", "mutable"),
    ("default", "default"),
    ("created", "created_at"),
)
_IMAGE = (("id", "id"), ("name", "name"), ("reference", "reference"), ("registry", "registry.name"))
Project = Annotated[str, typer.Argument(help="Id or name.")]
Version = Annotated[str, typer.Argument(help="Id, or PROJECT/VERSION; PROJECT alone for a versionless one.")]
Changelog = Annotated[str, typer.Option(help="What it brings.")]


def version_id(session: Session, given: str) -> str:
    """The id of the version that was named. Raises CommandError."""
    from cli.names import is_id, pick

    if is_id(given):
        return given
    projects = session.all("/projects")
    hidden = [one["default_version_id"] for one in projects if one["name"] == given and one["type"] == "versionless"]
    if hidden:
        return str(hidden[0])
    project, slash, name = given.rpartition("/")
    if not slash:
        raise CommandError("version-unclear", f"Name the version {given} as PROJECT/{given}, or by its id.")
    found = session.all(f"/projects/{pick(projects, project, 'project')['id']}/versions")
    return str(pick(found, name, f"version of {project}")["id"])


@app.command("list")
def list_projects(output: OutputOption = Output.TABLE) -> None:
    """The team's projects."""
    from cli.session import open_session

    show_list(open_session().all("/projects"), _PROJECT, output)


@app.command("create")
def create_project(
    name: Annotated[str, typer.Argument()],
    type: Annotated[str, typer.Option(help="versioned or versionless.")] = "versioned",
    description: Annotated[str, typer.Option()] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a project."""
    from cli.session import open_session

    session = open_session()
    body = {"name": name, "type": type, "description": description}
    show_one(session.client.post(f"{session.team}/projects", body), _PROJECT, output)


@versions.command("list")
def list_versions(project: Project, output: OutputOption = Output.TABLE) -> None:
    """A project's versions."""
    from cli.session import open_session

    session = open_session()
    show_list(session.all(f"/projects/{session.named('/projects', project, 'project')}/versions"), _VERSION, output)


@versions.command("create")
def create_version(
    project: Project,
    name: Annotated[str, typer.Argument(help="Such as 1.0.0.")],
    type: Annotated[str, typer.Option(help="incremental (fixed once deployed) or rolling.")] = "incremental",
    changelog: Changelog = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a version; `fairlead image add` puts images into it."""
    from cli.session import open_session

    session = open_session()
    path = f"{session.team}/projects/{session.named('/projects', project, 'project')}/versions"
    show_one(session.client.post(path, {"name": name, "type": type, "changelog": changelog}), _VERSION, output)


@versions.command("increase")
def increase(
    version: Version,
    name: Annotated[str, typer.Argument(help="Of the new version.")],
    changelog: Changelog = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Make the next version, with the images of this one."""
    from cli.session import open_session

    session = open_session()
    path = f"{session.team}/versions/{version_id(session, version)}/increase"
    show_one(session.client.post(path, {"name": name, "changelog": changelog}), _VERSION, output)


@images.command("list")
def list_images(version: Version, output: OutputOption = Output.TABLE) -> None:
    """A version's images, in order."""
    from cli.session import open_session

    session = open_session()
    show_list(session.client.get(f"{session.team}/versions/{version_id(session, version)}/images")["items"], _IMAGE, output)


@images.command("add")
def add_image(
    version: Version,
    repository: Annotated[str, typer.Argument(help="[host/]path[:tag][@digest]")],
    tag: Annotated[str | None, typer.Option(help="When it does not stand in the repository's name.")] = None,
    registry: Annotated[str | None, typer.Option(help="Id or name; found by the host when left out.")] = None,
    config: Annotated[str | None, typer.Option(help="A JSON file of configuration, - for stdin.")] = None,
    name: Annotated[str | None, typer.Option(help="What its container is called.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Add an image to a version."""
    from cli.session import open_session
    from cli.typed import given, json_object

    settings = {**json_object(config), **given(name=name)}
    session = open_session()
    registry_id = session.named("/registries", registry, "registry") if registry else None
    body = given(registry_id=registry_id, repository=repository, tag=tag, config=settings)
    show_one(session.client.post(f"{session.team}/versions/{version_id(session, version)}/images", body), _IMAGE, output)
