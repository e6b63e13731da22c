"""The story itself, step by step; every step is checked, and a wrong one ends it."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from cli.client import ApiError, Client
from deploy.native.demo import images
from deploy.native.demo.screen import Screen
from deploy.native.processes import wait_until

PREFIX = "shop"
GREETING = "Welcome aboard"


class StoryError(Exception):
    """Something was not as it should be: what was expected, and what was seen."""


def expect(truth: object, what: str) -> None:
    if not truth:
        raise StoryError(what)


@dataclass
class World:
    """What the story knows. `containers(prefix)` asks Docker itself: name -> (id, state)."""

    base_url: str
    registry_address: str
    registry_user: str
    registry_password: str
    host_port: int
    install: Callable[[str], None]
    containers: Callable[[str, str], dict[str, tuple[str, str]]]


class Story:
    """One telling. Any in here is the API's JSON."""

    def __init__(self, world: World, screen: Screen, client: Client) -> None:
        self.world = world
        self.screen = screen
        self.client = client
        self.team_id = ""
        self.node_id = ""
        self.registry_id = ""
        self.versions: dict[str, str] = {}
        self.deployments: dict[str, str] = {}

    @property
    def team(self) -> str:
        return f"/teams/{self.team_id}"

    # -- chapters -----------------------------------------------------------------------------------

    def register(self, email: str, password: str) -> None:
        self.screen.chapter("A person registers and makes a team")
        self.client.post("/auth/register", {"email": email, "password": password, "name": "Ada"})
        self.client.log_in(email, password)
        suffix = email.split("@")[0].rpartition("-")[2]
        team = self.client.post("/teams", {"name": f"Harbour {suffix}", "slug": f"harbour-{suffix}"})
        self.team_id = team["id"]
        me = self.client.get("/me")
        expect(any(one["id"] == self.team_id and one["role"] == "owner" for one in me["teams"]), "the maker of a team owns it")
        self.screen.saw(f"{email} owns the team {team['name']}")

    def add_registry(self) -> None:
        self.screen.chapter("A registry, with its repositories and tags")
        world = self.world
        registry = self.client.post(
            f"{self.team}/registries",
            {
                "name": "Local",
                "type": "v2",
                "url": f"http://{world.registry_address}",
                "username": world.registry_user,
                "password": world.registry_password,
            },
        )
        self.registry_id = registry["id"]
        expect("password" not in registry or not registry["password"], "a password is never shown")
        check = self.client.post(f"{self.team}/registries/{self.registry_id}/check")
        expect(check["reachable"] and check["authenticated"], f"the registry is reachable and lets us in: {check}")
        found = self.client.get(f"{self.team}/registries/{self.registry_id}/repositories")
        names = sorted(item["name"] for item in found["items"])
        expect({images.WEB, images.CLOCK} <= set(names), f"the registry lists the sample images: {names}")
        tags = self.client.get(f"{self.team}/registries/{self.registry_id}/tags", repository=images.WEB)
        shown = sorted(item["name"] for item in tags["items"])
        expect(shown == ["1.0.0", "1.1.0", "1.2.0"], f"the tags of {images.WEB}: {shown}")
        self.screen.saw(f"repositories: {', '.join(names)}; tags of {images.WEB}: {', '.join(shown)}")

    def enrol_node(self) -> None:
        self.screen.chapter("This machine becomes a node, by the one-line install")
        node = self.client.post(f"{self.team}/nodes", {"name": "this-machine"})
        self.node_id = node["id"]
        expect(node["status"] == "new", f"a node starts as new: {node['status']}")
        enrollment = self.client.post(f"{self.team}/nodes/{self.node_id}/enrollment")
        self.screen.note(_hide_token(enrollment["command"], enrollment["token"]))
        self.world.install(enrollment["command"])
        self._await_node()
        self.screen.saw("the node is connected")

    def _await_node(self) -> None:
        def connected() -> bool:
            return bool(self.client.get(f"{self.team}/nodes/{self.node_id}")["status"] == "connected")

        wait_until(connected, seconds=60, part="agent", problem="does not connect")

    def create_project(self) -> None:
        self.screen.chapter("A versioned project, version 1.0.0, two images")
        project = self.client.post(f"{self.team}/projects", {"name": "Shop", "type": "versioned"})
        version = self.client.post(f"{self.team}/projects/{project['id']}/versions", {"name": "1.0.0", "type": "incremental"})
        self.versions["1.0.0"] = version["id"]
        self._add_image(version["id"], images.WEB, "1.0.0", self._web_config())
        self._add_image(version["id"], images.CLOCK, "1", {"name": "clock", "expected_state": {"stable_seconds": 1}})
        self.screen.saw(f"Shop 1.0.0 has {images.WEB}:1.0.0 and {images.CLOCK}:1")

    def _add_image(self, version_id: str, repository: str, tag: str, config: dict[str, Any]) -> None:
        body = {"registry_id": self.registry_id, "repository": repository, "tag": tag, "config": config}
        self.client.post(f"{self.team}/versions/{version_id}/images", body)

    def _web_config(self) -> dict[str, Any]:
        return {
            "name": "web",
            "environment": {"GREETING": GREETING},
            "secrets": {"API_KEY": {"required": True}},
            "ports": [{"container_port": 80, "host_port": self.world.host_port, "host_ip": "127.0.0.1"}],
            "volumes": [{"path": "/data", "name": "shop-data"}],
            "healthcheck": {
                "test": ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1/health"],
                "interval_seconds": 0.5,
                "timeout_seconds": 10,
                "retries": 4,
            },
            "expected_state": {"state": "healthy", "timeout_seconds": 60, "stable_seconds": 1},
            "stop_grace_seconds": 1,
        }

    def deploy_first(self) -> None:
        self.screen.chapter("1.0.0 is planned and deployed under the prefix shop")
        deployment = self._deploy("1.0.0")
        try:
            self.client.post(f"{self.team}/deployments/{deployment}/start")
        except ApiError as error:
            expect(error.status in (409, 422) and "API_KEY" in str(error.problem), f"the missing secret is named: {error}")
            self.screen.saw(f"without its secret it is refused: {error.code}")
        else:
            raise StoryError("a start without the required secret must be refused")
        self._set_secret(deployment)
        plan = self.client.post(f"{self.team}/deployments/{deployment}/plan")
        self._show_plan(plan)
        self._start(deployment, plan["fingerprint"])
        self._expect_status(deployment, "successful")
        self._expect_page("1.0.0")

    def upgrade(self) -> None:
        self.screen.chapter("1.1.0: increased, deployed; what did not change keeps running")
        before = self._running()
        self._increase("1.0.0", "1.1.0")
        deployment = self._deploy("1.1.0")
        self._set_secret(deployment)
        self._show_plan(self.client.post(f"{self.team}/deployments/{deployment}/plan"))
        self._start(deployment)
        self._expect_status(deployment, "successful")
        self._expect_page("1.1.0")
        after = self._running()
        expect(after["shop-clock"] == before["shop-clock"], "the unchanged container was kept running")
        expect(after["shop-web"][0] != before["shop-web"][0], "the changed container was replaced")
        self.screen.saw("the container shop-clock is the very same one")
        self._expect_status(self.deployments["1.0.0"], "obsolete")

    def break_it(self) -> None:
        self.screen.chapter("1.2.0 never becomes healthy: failed, and nothing has changed")
        before = self._running()
        self._increase("1.1.0", "1.2.0")
        deployment = self._deploy("1.2.0")
        self._set_secret(deployment)
        self._start(deployment)
        self._expect_status(deployment, "failed")
        attempt = self.client.get(f"{self.team}/deployments/{deployment}/attempts/1")
        self.screen.note(f"{attempt['code']}: {str(attempt['detail']).splitlines()[0][:100]}")
        self._expect_page("1.1.0")
        after = self._running()
        expect(after == before, f"the containers are as they were: {before} -> {after}")
        self.screen.saw("its containers are the very same ones")
        self._expect_status(self.deployments["1.1.0"], "successful")

    def roll_back(self) -> None:
        self.screen.chapter("Back to 1.0.0")
        self._start(self.deployments["1.0.0"])
        self._expect_status(self.deployments["1.0.0"], "successful")
        self._expect_status(self.deployments["1.1.0"], "downgraded")
        self._expect_page("1.0.0")

    def protect(self) -> None:
        self.screen.chapter("The prefix is protected")
        self.client.patch(f"{self.team}/deployments/{self.deployments['1.0.0']}", {"protected": True})
        other = self.client.post(f"{self.team}/projects", {"name": "Intruder", "type": "versioned"})
        version = self.client.post(f"{self.team}/projects/{other['id']}/versions", {"name": "1", "type": "incremental"})
        self._add_image(version["id"], images.CLOCK, "1", {"name": "clock"})
        body = {"version_id": version["id"], "node_id": self.node_id, "prefix": PREFIX}
        deployment = self.client.post(f"{self.team}/deployments", body)
        self._expect_refusal(409, "place-protected", lambda: self.client.post(f"{self.team}/deployments/{deployment['id']}/start"))
        self.screen.saw("another deployment to it is refused: place-protected")

    def outsider(self, email: str, password: str) -> None:
        self.screen.chapter("A member of another team sees nothing")
        other = Client(self.world.base_url)
        other.post("/auth/register", {"email": email, "password": password, "name": "Eve"})
        other.log_in(email, password)
        suffix = email.split("@")[0].rpartition("-")[2]
        own = other.post("/teams", {"name": f"Pirates {suffix}", "slug": f"pirates-{suffix}"})
        deployment = self.deployments["1.0.0"]
        for team in (self.team, f"/teams/{own['id']}"):
            path = f"{team}/deployments/{deployment}"
            self._expect_refusal(404, "not-found", partial(other.get, path))
            self._expect_refusal(404, "not-found", partial(other.post, f"{path}/start"))
        other.close()
        self.screen.saw("reading and starting the deployment both answer 404")

    def show_audit(self) -> None:
        self.screen.chapter("The record")
        entries = self._await_entries({"deployer.deployment.succeeded", "deployer.deployment.failed", "identity.access.refused"})
        for entry in reversed(entries):
            if entry["action"] != "agent.deployment.progressed":
                self.screen.record(*_row(entry))
        verdict = self.client.get(f"{self.team}/audit/verify")
        expect(verdict["valid"] and verdict["entries"] >= len(entries), f"the chain verifies: {verdict}")
        self.screen.saw(f"the chain of {verdict['entries']} entries verifies")

    def _await_entries(self, wanted: set[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        def all_there() -> bool:
            found[:] = list(self.client.all(f"{self.team}/audit", limit=200))
            return wanted <= {entry["action"] for entry in found}

        wait_until(all_there, seconds=60, part="audit", problem=f"does not show {wanted}")
        return found

    # -- pieces -------------------------------------------------------------------------------------

    def _increase(self, parent: str, name: str) -> None:
        version = self.client.post(
            f"{self.team}/versions/{self.versions[parent]}/increase", {"name": name, "changelog": f"What {name} brings"}
        )
        self.versions[name] = version["id"]
        for image in self.client.all(f"{self.team}/versions/{version['id']}/images"):
            if image["repository"] == images.WEB:
                self.client.patch(f"{self.team}/images/{image['id']}", {"tag": name})

    def _deploy(self, version: str) -> str:
        body = {"version_id": self.versions[version], "node_id": self.node_id, "prefix": PREFIX, "note": f"demo {version}"}
        self.deployments[version] = self.client.post(f"{self.team}/deployments", body)["id"]
        return self.deployments[version]

    def _set_secret(self, deployment: str) -> None:
        self.client.put(f"{self.team}/deployments/{deployment}/secrets", {"API_KEY": {"value": "swordfish-42"}})
        shown = self.client.get(f"{self.team}/deployments/{deployment}/secrets")
        expect("swordfish" not in str(shown), "a secret is never shown")

    def _show_plan(self, plan: dict[str, Any]) -> None:
        for action in plan["actions"]:
            self.screen.note(f"plan: {action['action']:<8} {action['name']} {action.get('reason') or ''}")

    def _start(self, deployment: str, fingerprint: str | None = None) -> None:
        body = {"plan_fingerprint": fingerprint} if fingerprint else {}
        answer = self.client.post(f"{self.team}/deployments/{deployment}/start", body)
        number = answer["attempt"]["number"]
        path = f"{self.team}/deployments/{deployment}/events/stream"
        for event in self.client.stream(f"{path}?attempt={number}", seconds=120):
            if event.event != "end":
                self.screen.progress(event.data)

    def _expect_status(self, deployment: str, status: str) -> None:
        seen = self.client.get(f"{self.team}/deployments/{deployment}")["status"]
        version = next(name for name, one in self.deployments.items() if one == deployment)
        expect(seen == status, f"the deployment of {version} is {status}; it is {seen}")
        self.screen.saw(f"the deployment of {version} is {status}")

    def _expect_page(self, version: str) -> None:
        page = fetch(f"http://127.0.0.1:{self.world.host_port}/")
        expect(f"Fairlead shop {version}" in page, f"the page shows {version}: {page!r}")
        expect(GREETING in page and "has 12 characters" in page, f"environment and secret arrived: {page!r}")
        self.screen.saw(f"http://127.0.0.1:{self.world.host_port}/ answers: {' — '.join(page.split(chr(10))).strip(' —')}")

    def _expect_refusal(self, status: int, code: str, action: Callable[[], Any]) -> None:
        try:
            action()
        except ApiError as error:
            expect((error.status, error.code) == (status, code), f"a refusal with {status} {code}; it was {error}")
        else:
            raise StoryError(f"it must be refused with {status} {code}, and was not")

    def _running(self) -> dict[str, tuple[str, str]]:
        return self.world.containers(self.node_id, PREFIX)


def fetch(url: str) -> str:
    """The page at `url`, asked for up to 30 s."""
    page = ""

    def answers() -> bool:
        nonlocal page
        try:
            with urlopen(url, timeout=2) as response:  # noqa: S310 - an address of ours
                page = response.read().decode()
        except (URLError, OSError, http.client.HTTPException):
            return False
        return True

    wait_until(answers, seconds=30, part="demo", problem=f"{url} does not answer")
    return page


def _row(entry: dict[str, Any]) -> tuple[str, str, str, str, str]:
    actor, resource = entry["actor"], entry["resource"]
    who = str(actor["name"] or actor["kind"])
    return str(entry["at"])[11:19], who, str(entry["action"]), str(resource["name"] or ""), str(entry["outcome"])


def _hide_token(command: str, token: str) -> str:
    return command.replace(token, f"{token[:7]}…")
