"""`python -m deploy.native.demo`: tells the story on the running stack and leaves it running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import requests

from cli.client import ApiError, Client
from deploy.native import images as engine
from deploy.native import keys, ports
from deploy.native.demo import images
from deploy.native.demo.screen import Screen
from deploy.native.demo.story import PREFIX, Story, StoryError, World, expect
from deploy.native.errors import StackError
from deploy.native.layout import Layout
from deploy.native.processes import wait_until, write_file
from kernel import clock
from kernel.contracts.spec import LABEL_CONTAINER, LABEL_NODE, LABEL_PREFIX

_HOST_PORTS = range(8088, 8188)


def main() -> int:
    """0 when each step was seen, 1 otherwise."""
    layout = Layout.of(os.environ)
    screen = Screen()
    try:
        story = _tell(layout, screen)
    except (StoryError, StackError, ApiError, requests.RequestException) as error:
        screen.end(f"\n[bold red]The demo failed:[/] {type(error).__name__}: {error}")
        return 1
    screen.end(
        f"\nAll of this was seen in {screen.seconds:.0f} s. It runs on:\n"
        f"  API             {story.world.base_url}/api/v1\n"
        f"  documentation   {story.world.base_url}/api/docs\n"
        f"  the shop        http://127.0.0.1:{story.world.host_port}/\n"
        f"  log-in          e-mail and password are in {layout.run / 'demo.json'}\n"
        f"  stop it         make down      (make reset forgets all data)"
    )
    return 0


def _tell(layout: Layout, screen: Screen) -> Story:
    recorded = ports.load(layout.ports)
    base_url = f"http://127.0.0.1:{recorded['gateway']}"
    address = f"127.0.0.1:{recorded['registry']}"
    password = keys.load_or_make(layout).registry
    note = layout.run / "demo.json"
    _forget_former(note, base_url, screen)
    _require_free_names()
    screen.note("building the sample images")
    images.build_and_push(address, "fairlead", password)
    mark = clock.new_id().hex[4:12] + clock.random_token(3).lower().replace("_", "x").replace("-", "y")
    email, secret = f"ada-{mark}@example.com", clock.random_token(15)
    world = World(base_url, address, "fairlead", password, _free_port(), lambda line: _install(line, layout), _containers)
    story = Story(world, screen, Client(base_url))

    def keep() -> None:
        _write(note, story, email=email, password=secret)

    story.register(email, secret)
    keep()
    story.add_registry()
    story.enrol_node()
    keep()
    story.create_project()
    story.deploy_first()
    story.upgrade()
    story.break_it()
    story.roll_back()
    story.protect()
    story.outsider(f"eve-{mark}@example.com", clock.random_token(15))
    story.show_audit()
    keep()
    return story


def _write(note: Path, story: Story, *, email: str, password: str) -> None:
    world = story.world
    document = {
        "base_url": world.base_url,
        "email": email,
        "password": password,
        "team_id": story.team_id,
        "node_id": story.node_id,
        "registry_id": story.registry_id,
        "registry": {"address": world.registry_address, "username": world.registry_user, "password": world.registry_password},
    }
    write_file(note, json.dumps(document, indent=2) + "\n", mode=0o600)


def _forget_former(note: Path, base_url: str, screen: Screen) -> None:
    """Remove what an earlier telling has deployed, as its owner would: the place is to be free again."""
    if not note.exists():
        return
    former = json.loads(note.read_text())
    client = Client(base_url)
    try:
        client.log_in(former["email"], former["password"])
    except ApiError:
        screen.note("an earlier demo's data is gone")
        return
    team, node = f"/teams/{former['team_id']}", former.get("node_id") or ""
    if node:
        _clear_node(client, team, node)
        screen.note("what an earlier demo had deployed was removed")
    client.close()


def _clear_node(client: Client, team: str, node: str) -> None:
    deployments: list[Any] = list(client.all(f"{team}/deployments", node=node))
    for deployment in sorted(deployments, key=lambda one: one["status"] == "successful"):
        if deployment["status"] == "in-progress":
            client.post(f"{team}/deployments/{deployment['id']}/cancel")
    for deployment in deployments:
        path = f"{team}/deployments/{deployment['id']}"
        wait_until(partial(_is_over, client, path), seconds=60, part="deployer", problem="does not end a deployment")
        client.delete(path, remove_containers="true", remove_volumes="true")
    if client.get(f"{team}/nodes/{node}")["status"] == "connected":
        wait_until(lambda: not _containers(node, PREFIX), seconds=60, part="agent", problem="does not remove the former containers")


def _require_free_names() -> None:
    """Another checkout's demo on the same engine holds the names: better said now than by a failed deployment."""
    client = engine.connect()
    try:
        found = client.api.containers(all=True, filters={"label": f"{LABEL_PREFIX}={PREFIX}"})
    finally:
        client.close()
    if found:
        names = " ".join(sorted(one["Names"][0].lstrip("/") for one in found))
        raise StackError("demo", f"another Fairlead has deployed {names} on this engine: `make reset` there, or `docker rm -f {names}`")


def _is_over(client: Client, path: str) -> bool:
    return bool(client.get(path)["status"] != "in-progress")


def _free_port() -> int:
    return next(port for port in _HOST_PORTS if ports.is_free(port))


def _install(command: str, layout: Layout) -> None:
    """Run the very line that a person would paste into a shell."""
    environment = {**os.environ, "FAIRLEAD_AGENT_DIR": str(layout.agent)}
    result = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=600, check=False)
    if result.returncode != 0:
        raise StackError("agent", f"the install script ended with {result.returncode}: {(result.stdout + result.stderr)[-1500:]}")


def _containers(node_id: str, prefix: str) -> dict[str, tuple[str, str]]:
    client = engine.connect()
    try:
        found = client.api.containers(all=True, filters={"label": [f"{LABEL_NODE}={node_id}", f"{LABEL_PREFIX}={prefix}"]})
    finally:
        client.close()
    expect(all(LABEL_CONTAINER in one["Labels"] for one in found), "each container of ours says which one it is")
    return {one["Names"][0].lstrip("/"): (one["Id"][:12], one["State"]) for one in found}


if __name__ == "__main__":
    sys.exit(main())
