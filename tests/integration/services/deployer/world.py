"""A deployer on a real database, with a small catalog beside it that answers as the real one does."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import Flask
from nacl.public import PrivateKey
from nacl.signing import SigningKey
from sqlalchemy import text

from kernel import clock, signing
from kernel.contracts.envelope import Envelope, from_document
from kernel.db import Database
from kernel.errors import FieldError, Invalid, NotFound, Unavailable
from kernel.principal import Principal
from services.deployer.models import Node
from tests.fixtures.servers import TestDatabase

Json = Any  # requests and answers


@dataclass
class SmallCatalog:
    """Versions in a dictionary, told of as the catalog's internal interface does."""

    versions: dict[str, Json] = field(default_factory=dict)
    bundles: dict[str, Json] = field(default_factory=dict)
    pins: list[Json] = field(default_factory=list)
    released: list[Json] = field(default_factory=list)
    named: list[Json] = field(default_factory=list)
    digit: str = "c"
    refuse_pin: Exception | None = None
    is_away: bool = False

    def add(self, *images: Json, type: str = "incremental", seq: int = 1, project: UUID | None = None) -> str:  # the field's name
        """A version of `images`: `{"name": "web", "config": {...}}`."""
        version_id = str(clock.new_id())
        self.versions[version_id] = {
            "version_id": version_id,
            "project_id": str(project or clock.new_id()),
            "project_name": "shop",
            "project_type": "versioned",
            "name": f"1.{seq}.0",
            "type": type,
            "seq": seq,
            "images": [self._image(position, image) for position, image in enumerate(images)],
        }
        return version_id

    @staticmethod
    def _image(position: int, image: Json) -> Json:
        digest = f"sha256:{image.get('digit', str(position)) * 64}"
        return {
            "image_id": str(clock.new_id()),
            "position": position,
            "name": image["name"],
            "repository": image["name"],
            "tag": "1",
            "image": f"registry.test/{image['name']}@{digest}",
            "digest": digest,
            "registry": "registry.test",
            "config": image.get("config", {}),
        }

    def call(self, method: str, path: str, *, token: str | None = None, json: Json = None, timeout_seconds: float | None = None) -> Json:
        if self.is_away:
            raise Unavailable("The catalog service does not answer.", code="catalog-unavailable")
        parts = path.split("/")
        if parts[4:] == ["config-bundles", "check"]:
            self._check(json["config_bundle_ids"])
            return None
        team, version_id, verb = parts[3], parts[5], parts[6] if len(parts) > 6 else None
        if version_id not in self.versions or json_of(token or "")["team"] != team:
            raise NotFound("version")
        if verb == "release":
            self.released.append(json)
            return None
        if verb == "pin":
            return self._pin(version_id, json)
        if verb == "digests":
            self.named.append(json)
            held = {
                one: f"{one.rpartition(':')[0]}@sha256:{self.digit * 64}" for one in json["references"] if one.startswith("registry.test/")
            }
            return {"references": held, "credentials": {"registry.test": "other", "more.test": "bW9yZQ"} if json["hold"] else {}}
        return self.versions[version_id]

    def _check(self, ids: Sequence[str]) -> None:
        message = "is not a config bundle of this team"
        wrong = [FieldError(f"config_bundle_ids.{place}", message) for place, one in enumerate(ids) if one not in self.bundles]
        if wrong:
            raise Invalid(wrong)

    def _pin(self, version_id: str, body: Json) -> Json:
        if self.refuse_pin is not None:
            raise self.refuse_pin
        self.pins.append(body)
        bundles = [self.bundles[one] for one in body["config_bundle_ids"]]
        return self.versions[version_id] | {"bundles": bundles, "credentials": {"registry.test": "Ym94"}}


def json_of(token: str) -> Json:
    return json.loads(base64.b64decode(token))


class PlainVerifier:
    """Tokens of these tests are their claims in base64."""

    def verify(self, token: str) -> Json:
        return json_of(token)


@dataclass(frozen=True)
class Somebody:
    """A member of a team who calls the API."""

    app: Flask
    team: UUID
    role: str = "member"
    id: UUID = field(default_factory=clock.new_id)

    @property
    def token(self) -> str:
        claims = {"sub": str(self.id), "kind": "user", "name": "Ada", "team": str(self.team), "role": self.role, "scopes": ["admin"]}
        return base64.b64encode(json.dumps(claims).encode()).decode()

    def call(self, method: str, path: str, body: Json = None, *, status: int | None = None, headers: Json = None) -> Json:
        """The answer's JSON; the status is checked."""
        client = self.app.test_client()
        path = f"/api/v1/teams/{self.team}{path}"
        answer = client.open(path, method=method, json=body, headers={"Authorization": f"Bearer {self.token}"} | (headers or {}))
        expected = status or {"POST": 201, "DELETE": 204}.get(method, 200)
        assert answer.status_code == expected, (answer.status_code, answer.get_data(as_text=True))
        return answer.get_json(silent=True)

    def as_(self, role: str) -> Somebody:
        return replace(self, role=role)

    def principal(self) -> Principal:
        from kernel.http.auth import principal_from_claims

        return principal_from_claims(json_of(self.token), self.token)


@dataclass
class World:
    """The deployer's application, its database, the catalog, and one team with one connected node."""

    app: Flask
    db: Database
    database: TestDatabase
    catalog: SmallCatalog
    key: SigningKey
    team: UUID
    node_key: PrivateKey
    node: UUID
    me: Somebody

    def add_node(self, name: str, *, key: PrivateKey | None = None, silent_seconds: float | None = 0, team: UUID | None = None) -> UUID:
        """A node that is enrolled (with a key) and was seen so long ago."""
        at = clock.now()
        team = team or self.team
        row = Node(id=clock.new_id(), team_id=team, name=name, created_at=at, updated_at=at, epoch=3)
        if key is not None:
            row.enrolled_at = at
            row.seal_key = signing.to_text(key.public_key)
        if silent_seconds is not None and key is not None:
            row.last_seen_at = at - timedelta(seconds=silent_seconds)
        with self.db.team(team) as session:
            session.add(row)
        return row.id

    def update_node(self, **values: Json) -> None:
        with self.db.team(self.team) as session:
            row = session.get_one(Node, self.node)
            for name, value in values.items():
                setattr(row, name, value)

    def deploy(self, version: str, *, prefix: str = "shop", **more: Json) -> Json:
        """A prepared deployment."""
        body = {"version_id": version, "node_id": str(self.node), "prefix": prefix} | more
        return self.me.call("POST", "/deployments", body)

    def start(self, deployment: Json, **options: Json) -> Json:
        return self.me.call("POST", f"/deployments/{deployment['id']}/start", options, status=202)["attempt"]

    def get(self, deployment: Json) -> Json:
        return self.me.call("GET", f"/deployments/{deployment['id']}")

    def settle(self, attempt: Json, outcome: str = "succeeded", **more: Json) -> bool:
        from services.deployer.usecases.settle import settle

        with self.db.system() as session:
            return settle(session, UUID(attempt["id"]), outcome=outcome, at=clock.now(), cause=None, **more)

    def run(self, version: str, **more: Json) -> Json:
        """A deployment that was started and succeeded."""
        made = self.deploy(version, **more)
        assert self.settle(self.start(made))
        return self.get(made)

    def messages(self, vhost: str = "core") -> list[Envelope]:
        """What stands in the outbox, in order."""
        with self.db.system() as session:
            rows = session.execute(text("SELECT body FROM outbox WHERE vhost = :vhost ORDER BY id"), {"vhost": vhost})
            return [from_document(json.loads(row[0])) for row in rows]

    def names(self, vhost: str = "core") -> list[str]:
        return [one.name.removeprefix("deployer.") for one in self.messages(vhost)]

    def events(self, deployment: Json, query: str = "") -> Json:
        return self.me.call("GET", f"/deployments/{deployment['id']}/events{query}")

    def see(self, *containers: Json) -> None:
        """What the agent reports of its node."""
        self.update_node(containers=list(containers), observed_at=clock.now())
