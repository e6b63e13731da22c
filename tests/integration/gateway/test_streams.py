"""Live events: nothing missed, nothing twice, nobody else's, and none for a token that was revoked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from flask import Response, request
from joserfc import jwt
from joserfc.jwk import OKPKey

from kernel import clock
from kernel.contracts import identity
from kernel.contracts.envelope import Envelope, encode
from kernel.contracts.recorded import Recorded
from kernel.messaging.publisher import Confirm, Outgoing, Publisher
from tests.fixtures.servers import TestBroker
from tests.fixtures.waiting import eventually
from tests.integration.gateway.conftest import TEAM, Gateway, RunGateway, Services

DEPLOYMENT = str(clock.new_id())
PATH = f"/api/v1/teams/{TEAM}/deployments/{DEPLOYMENT}/events"


@dataclass
class Story:
    """A deployment as the deployer would tell it, a page at a time."""

    events: list[dict[str, Any]] = field(default_factory=list)  # any JSON
    over: bool = False
    broken: bool = False
    asked: int = 0
    oldest: int = 1  # what has a lower number was too old to be kept

    def tell(self, count: int, kind: str = "step") -> None:
        for _ in range(count):
            number = len(self.events) + 1
            self.events.append({"number": number, "attempt": 1, "kind": kind, "container": None, "message": f"line\n{number}", "data": {}})

    def page(self) -> Response:
        self.asked += 1
        if self.broken:
            return Response(status=500)
        over = self.over
        after, limit = int(request.args["after"]), int(request.args["limit"])
        rest = [event for event in self.events[after:] if event["number"] >= self.oldest]
        more = len(rest) > limit
        status = "successful" if over else "in-progress"
        document = {"items": rest[:limit], "next_after": 0, "more": more, "done": over and not more, "status": status}
        document["lost"] = after + 1 < self.oldest
        return Response(json.dumps(document), content_type="application/json")


@pytest.fixture
def story(services: Services) -> Story:
    told = Story()
    services.answers[PATH] = told.page
    return told


class Looker:
    """Reads a stream in a thread; `seen` holds (event, id, data)."""

    def __init__(self, gateway: Gateway, path: str, **headers: str) -> None:
        self.answer = gateway.call(path, headers=headers, stream=True)
        self.seen: list[tuple[str, str | None, Any]] = []  # any JSON
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            for line in self.answer.iter_lines(chunk_size=1, decode_unicode=True):
                self.lines.append(line)
                name, colon, value = line.partition(": ")
                if line and colon and name:
                    fields[name] = value
                elif not line and "data" in fields:
                    self.seen.append((fields.get("event", "message"), fields.get("id"), json.loads(fields["data"])))
                    fields = {}
        except (requests.RequestException, AttributeError):
            return

    def numbers(self) -> list[int]:
        return [int(number) for _, number, _ in self.seen if number]

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def close(self) -> None:
        self.answer.close()


@pytest.fixture
def publish(broker: TestBroker) -> Iterator[Callable[..., None]]:
    """Publishes events to core as their sender."""
    publishers = {sender: Publisher(broker.core_url(sender), f"test {sender}") for sender in ("identity", "deployer")}

    def send(sender: str, kind: str, team: str, **data: object) -> None:
        said = Recorded(resource_type="x", resource_id=DEPLOYMENT, before={"secret": "old"}, after={"secret": "new"})
        told = Envelope(type=f"{identity.NAMES[0]}.v1", source=sender, data=said, actor="user:u")
        body = json.loads(encode(told)) | {"type": kind, "team": team}
        body["data"] |= data
        outgoing = [Outgoing(f"{sender}.events", kind, json.dumps(body).encode(), str(clock.new_id()))]
        assert publishers[sender].publish(outgoing) == [Confirm.CONFIRMED]

    yield send
    for publisher in publishers.values():
        publisher.close()


@pytest.mark.parametrize(("read", "told"), [("3", True), ("9", False), ("10", False)])
def test_a_cursor_that_is_older_than_what_is_kept_is_told_of_the_gap_once(gateway: Gateway, story: Story, read: str, told: bool) -> None:
    story.tell(12)
    story.oldest = 10
    looker = Looker(gateway, f"{PATH}/stream", **{"Last-Event-ID": read})
    eventually(lambda: looker.numbers()[-1:] == [12])
    story.tell(1)
    story.over = True
    eventually(lambda: looker.is_over)
    assert looker.numbers() == list(range(max(10, int(read) + 1), 14))
    kinds = [kind for kind, _, _ in looker.seen]
    assert (kinds.count("lost"), kinds[0] == "lost", kinds[-1]) == (int(told), told, "end")


def test_a_stream_tells_all_from_the_beginning_to_the_end(gateway: Gateway, story: Story) -> None:
    story.tell(450)
    looker = Looker(gateway, f"{PATH}/stream")
    eventually(lambda: len(looker.numbers()) == 450)
    story.tell(3, kind="log")
    eventually(lambda: len(looker.numbers()) == 453)
    story.tell(1, kind="status")
    story.over = True
    eventually(lambda: looker.is_over)
    assert looker.numbers() == list(range(1, 455))
    assert looker.seen[-2][0] == "status"
    assert looker.seen[-1] == ("end", None, {"status": "successful", "attempt": None})
    assert looker.seen[0][2]["message"] == "line\n1"


@pytest.mark.parametrize(("query", "headers"), [("", {"Last-Event-ID": "7"}), ("?after=7", {}), ("?after=2", {"Last-Event-ID": "7"})])
def test_a_stream_goes_on_where_it_broke(gateway: Gateway, story: Story, query: str, headers: dict[str, str]) -> None:
    story.tell(10)
    story.over = True
    looker = Looker(gateway, f"{PATH}/stream{query}", **headers)
    eventually(lambda: looker.is_over)
    assert looker.numbers() == [8, 9, 10]


def test_an_event_wakes_the_stream(run_gateway: RunGateway, broker: TestBroker, story: Story, publish: Callable[..., None]) -> None:
    gateway = run_gateway(FAIRLEAD_BROKER_CORE_URL=broker.core_url("gateway"))
    eventually(lambda: gateway.call("/readyz").json()["parts"]["broker"]["ready"])
    looker = Looker(gateway, f"{PATH}/stream")
    eventually(lambda: story.asked >= 2)

    def woken() -> float:
        """Seconds until the stream asks anew after an event."""
        asked, began = story.asked, clock.monotonic()
        publish("deployer", "deployer.deployment.changed.v1", TEAM, deployment_id=DEPLOYMENT)
        eventually(lambda: story.asked > asked, every=0.005)
        return clock.monotonic() - began

    waits = [woken() for _ in range(10)]
    story.over = True
    eventually(lambda: looker.is_over, what="the end, so that it asks no more while others count")
    # It has asked just before, and would ask by itself half a second later: the quickest of ten shows that it need not wait.
    assert min(waits[1:]) < 0.3


def test_a_service_that_dies_meanwhile_loses_nothing(gateway: Gateway, story: Story) -> None:
    story.tell(2)
    looker = Looker(gateway, f"{PATH}/stream")
    eventually(lambda: looker.numbers() == [1, 2])
    story.broken = True
    asked = story.asked
    eventually(lambda: story.asked >= asked + 2)
    story.tell(2)
    story.over, story.broken = True, False
    eventually(lambda: looker.is_over)
    assert looker.numbers() == [1, 2, 3, 4]


def test_a_revoked_token_loses_its_stream(gateway: Gateway, services: Services, story: Story) -> None:
    story.tell(1)
    looker = Looker(gateway, f"{PATH}/stream")
    eventually(lambda: looker.numbers() == [1])
    services.tokens.clear()
    eventually(lambda: looker.is_over)
    assert looker.seen[-1][0] == "problem"
    assert looker.seen[-1][2]["code"] == "unauthenticated"


def test_a_stream_needs_a_token_and_the_team(gateway: Gateway, story: Story) -> None:
    elsewhere = PATH.replace(TEAM, str(clock.new_id()))
    assert gateway.call(f"{PATH}/stream", token=None).status_code == 401
    assert gateway.call(f"{PATH}/stream", token="wrong").status_code == 401
    assert gateway.call(f"{elsewhere}/stream").status_code == 404
    assert gateway.call(f"{PATH}/stream?after=x").status_code == 422
    assert story.asked == 0


def test_a_deployment_that_is_not_there_has_no_stream(gateway: Gateway, services: Services) -> None:
    services.answers[PATH] = lambda: Response(json.dumps({"code": "not-found"}), 404)
    answer = gateway.call(f"{PATH}/stream")
    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")


def test_too_many_streams_are_refused_and_a_closed_one_makes_room(run_gateway: RunGateway, story: Story) -> None:
    gateway = run_gateway(FAIRLEAD_LARGEST_STREAMS="2")
    lookers = [Looker(gateway, f"{PATH}/stream") for _ in range(2)]
    refused = gateway.call(f"{PATH}/stream")
    assert (refused.status_code, refused.json()["code"]) == (503, "stream-limit")
    story.tell(1)
    story.over = True
    eventually(lambda: all(looker.is_over for looker in lookers))
    eventually(lambda: gateway.call(f"{PATH}/stream").status_code == 200, what="room for another")


def test_somebody_who_left_makes_room_too(run_gateway: RunGateway, story: Story) -> None:
    gateway = run_gateway(FAIRLEAD_LARGEST_STREAMS="1")
    Looker(gateway, f"{PATH}/stream").close()

    def reopened() -> bool:
        story.tell(1)
        answer = gateway.call(f"{PATH}/stream", stream=True)
        answer.close()
        return answer.status_code == 200

    eventually(reopened, every=0.3)
    story.over = True


def test_a_change_of_rights_is_felt_at_once(
    run_gateway: RunGateway, broker: TestBroker, services: Services, publish: Callable[..., None]
) -> None:
    gateway = run_gateway(FAIRLEAD_BROKER_CORE_URL=broker.core_url("gateway"))
    eventually(lambda: gateway.call("/readyz").json()["parts"]["broker"]["ready"])
    asked_at = clock.monotonic()
    assert gateway.call("/api/v1/me").status_code == 200
    services.tokens.clear()
    publish("identity", "identity.token.revoked.v1", TEAM)
    eventually(lambda: gateway.call("/api/v1/me").status_code == 401)
    assert clock.monotonic() - asked_at < 5, "an answer is kept for that long"


def sign_for_real(services: Services, *, scopes: tuple[str, ...] = ("admin",)) -> None:
    """From now on internal tokens are real ones, with a key that can be asked for."""
    key = OKPKey.generate_key("Ed25519", {"kid": "k1", "alg": "Ed25519", "use": "sig"})
    keys = json.dumps({"keys": [key.as_dict(private=False)]})
    services.answers["/api/v1/.well-known/jwks.json"] = lambda: Response(keys, content_type="application/json")

    def internal(team: str | None) -> str:
        claims = {
            "iss": "fairlead", "aud": "fairlead-internal", "sub": str(clock.new_id()), "kind": "user", "name": "Ada", "team": team,
            "role": "viewer", "scopes": list(scopes), "exp": int(clock.now().timestamp()) + 60,
        }  # fmt: skip
        return jwt.encode({"alg": "Ed25519", "kid": "k1"}, claims, key, algorithms=["Ed25519"])

    services.internal = internal


def test_a_team_sees_its_events_live_and_no_others(
    run_gateway: RunGateway, broker: TestBroker, services: Services, publish: Callable[..., None]
) -> None:
    sign_for_real(services)
    gateway = run_gateway(FAIRLEAD_BROKER_CORE_URL=broker.core_url("gateway"))
    eventually(lambda: gateway.call("/readyz").json()["parts"]["broker"]["ready"])
    looker = Looker(gateway, f"/api/v1/teams/{TEAM}/events/stream")
    assert looker.answer.status_code == 200
    publish("deployer", "deployer.deployment.started.v1", str(clock.new_id()), revision=1)
    publish("deployer", "deployer.deployment.started.v1", TEAM, revision=2, verify_key="x")
    eventually(lambda: looker.seen)
    [(_, _, event)] = looker.seen
    assert (event["type"], event["data"]["revision"]) == ("deployer.deployment.started.v1", 2)
    assert not {"before", "after", "verify_key"} & set(event["data"])
    assert "address" not in event
    services.tokens.clear()
    eventually(lambda: looker.is_over)
    assert looker.seen[-1][0] == "problem"


def test_a_token_for_something_else_sees_no_live_events(gateway: Gateway, services: Services) -> None:
    sign_for_real(services, scopes=("registries:read",))
    assert gateway.call(f"/api/v1/teams/{TEAM}/events/stream").status_code == 403


def test_a_forged_internal_token_sees_no_live_events(gateway: Gateway, services: Services) -> None:
    assert gateway.call(f"/api/v1/teams/{TEAM}/events/stream").status_code in (401, 503)


def test_a_new_team_is_told_what_to_do_next(gateway: Gateway, services: Services) -> None:
    def items(*found: str) -> Callable[[], Response]:
        return lambda: Response(json.dumps({"items": list(found)}), content_type="application/json")

    base = f"/api/v1/teams/{TEAM}"
    services.answers |= {f"{base}/{name}": items("x") for name in ("nodes", "registries")}
    services.answers |= {f"{base}/{name}": items() for name in ("projects", "deployments")}
    told = gateway.call(f"{base}/onboarding").json()
    assert ([step["done"] for step in told["steps"]], told["next"]) == ([True, True, False, False, False], "project")
