"""The `fairlead` command: the groups of its commands, and the exit codes: 0, 1 refused, 2 nothing answers."""

from __future__ import annotations

import sys
from typing import Any

import typer

from cli import problems
from cli.commands import account, audit, deployment, node, project, registry, secret, team


class Fairlead(typer.Typer):
    """Whatever a command raises on purpose ends as one line on stderr."""

    # Any: typer's own signature.
    def __call__(self, *args: Any, **more: Any) -> Any:
        try:
            return super().__call__(*args, **more)
        except SystemExit:
            # The usual end: what the line below loads is not needed for it.
            raise
        except problems.expected() as error:
            sys.exit(problems.tell(error))


app = Fairlead(
    name="fairlead",
    help="Deliver versioned stacks of containers to your own machines. Things are named by id or by name; `--output json` is for scripts.",
    no_args_is_help=True,
    # A traceback with local variables would show tokens.
    pretty_exceptions_enable=False,
)
account.add_to(app)
app.add_typer(team.app, name="team")
app.add_typer(node.app, name="node")
app.add_typer(registry.app, name="registry")
app.add_typer(project.app, name="project")
app.add_typer(project.versions, name="version")
app.add_typer(project.images, name="image")
app.add_typer(deployment.app, name="deployment")
app.add_typer(secret.app, name="secret")
app.add_typer(audit.app, name="audit")

if __name__ == "__main__":
    app()
