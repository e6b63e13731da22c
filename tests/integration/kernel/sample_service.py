"""A service of a few routes on the kernel's HTTP side, for its tests."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from flask import Flask, Response, request
from flask_smorest import Blueprint
from marshmallow import RAISE, Schema, fields, validate
from sqlalchemy import text

from kernel import clock
from kernel.db import Database
from kernel.errors import Conflict, NotFound, RateLimited, Unavailable
from kernel.http import (
    HttpService,
    Page,
    PageArguments,
    TokenVerifier,
    create_http_app,
    decode_cursor,
    merge_patch,
    needs,
    page_of,
    page_schema,
    principal,
    public,
    set_etag,
    signed_in,
)
from kernel.http.etag import if_match_check
from kernel.permissions import Action

Thing = dict[str, Any]  # Any: a row


class ThingSchema(Schema):
    class Meta:
        unknown = RAISE

    id = fields.UUID(dump_only=True)
    name = fields.String(required=True, validate=validate.Length(1, 20))
    size = fields.Integer(strict=True, load_only=True)


class ThingPatchSchema(ThingSchema):
    name = fields.String(validate=validate.Length(1, 20))


@dataclass
class Doors:
    """Lets a test hold a request half-way."""

    entered: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


def make_app(db: Database, verifier: TokenVerifier, **more: Any) -> Flask:
    """The application. Any: fields of HttpService."""
    return create_http_app(HttpService(name="sample", title="Sample", blueprints=[things(db), others()], db=db, verifier=verifier, **more))


def revision(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def things(db: Database) -> Blueprint:
    """CRUD on the team table `things`."""
    blp = Blueprint("things", __name__, url_prefix="/api/v1/teams/<uuid:team_id>/things")

    @blp.route("")
    @needs("projects", Action.READ)
    @blp.arguments(PageArguments, location="query")
    @blp.response(200, page_schema(ThingSchema))
    def list_things(arguments: Thing, team_id: UUID) -> Page:
        after = decode_cursor(arguments["cursor"], UUID)
        with db.team(team_id) as session:
            rows = session.execute(
                text("SELECT id, name FROM things WHERE id > :after ORDER BY id LIMIT :limit"),
                {"after": after[0] if after else UUID(int=0), "limit": arguments["limit"] + 1},
            )
            return page_of([dict(row) for row in rows.mappings()], arguments["limit"], lambda row: (row["id"],))

    @blp.route("", methods=["POST"])
    @needs("projects", Action.WRITE)
    @blp.arguments(ThingSchema)
    @blp.response(201, ThingSchema)
    def create_thing(body: Thing, team_id: UUID) -> tuple[Thing, int, dict[str, str]]:
        thing = {"id": clock.new_id(), "name": body["name"]}
        with db.team(team_id) as session:
            session.execute(text("INSERT INTO things (id, team_id, name) VALUES (:id, :team, :name)"), thing | {"team": team_id})
        return thing, 201, {"Location": f"{request.path}/{thing['id']}"}

    @blp.route("/<uuid:thing_id>")
    @needs("projects", Action.READ)
    @blp.response(200, ThingSchema)
    def get_thing(team_id: UUID, thing_id: UUID) -> Thing:
        with db.team(team_id) as session:
            found = one(session, thing_id)
        set_etag(revision(found["name"]))
        return found

    @blp.route("/<uuid:thing_id>", methods=["PATCH"])
    @needs("projects", Action.WRITE)
    @blp.arguments(ThingPatchSchema)
    @blp.response(200, ThingSchema)
    def patch_thing(body: Thing, team_id: UUID, thing_id: UUID) -> Thing:
        check = if_match_check()
        with db.team(team_id) as session:
            found = one(session, thing_id)
            check(revision(found["name"]))
            changed: Thing = merge_patch(found, body)
            session.execute(text("UPDATE things SET name = :name WHERE id = :id"), changed)
        set_etag(revision(changed["name"]))
        return changed

    @blp.route("/<uuid:thing_id>", methods=["DELETE"])
    @needs("projects", Action.ADMIN)
    @blp.response(204)
    def delete_thing(team_id: UUID, thing_id: UUID) -> None:
        with db.team(team_id) as session:
            one(session, thing_id)
            session.execute(text("DELETE FROM things WHERE id = :id"), {"id": thing_id})

    return blp


def one(session: Any, thing_id: UUID) -> Thing:
    found = session.execute(text("SELECT id, name FROM things WHERE id = :id FOR UPDATE"), {"id": thing_id}).mappings().first()
    if found is None:
        raise NotFound("thing")
    return dict(found)


DOORS: dict[str, Doors] = {}
EFFECTS: dict[str, int] = {}


def others() -> Blueprint:
    """Routes that fail, wait or need no team."""
    blp = Blueprint("others", __name__, url_prefix="/api/v1")

    @blp.route("/me")
    @signed_in("account")
    def me() -> dict[str, str | None]:
        who = principal()
        return {"actor": who.actor, "name": who.name, "correlation": who.correlation, "address": who.address}

    @blp.route("/open", methods=["GET", "POST"])
    @public("a test")
    def open_to_all() -> dict[str, bool]:
        EFFECTS["open"] = EFFECTS.get("open", 0) + 1
        return {"open": True}

    @blp.route("/wait/<name>", methods=["POST"])
    @signed_in("account")
    def wait(name: str) -> tuple[dict[str, int], int]:
        EFFECTS[name] = EFFECTS.get(name, 0) + 1
        DOORS[name].entered.set()
        DOORS[name].go_on.wait(20)
        return {"effects": EFFECTS[name]}, 202

    @blp.route("/fail/<kind>", methods=["GET", "POST"])
    @public("a test")
    def fail(kind: str) -> Response:
        EFFECTS[kind] = EFFECTS.get(kind, 0) + 1
        failures: dict[str, Exception] = {
            "conflict": Conflict("place-busy", "Another attempt is running.", facts={"attempt": 3}),
            "away": Unavailable("The registry does not answer.", retry_after_seconds=7),
            "fast": RateLimited(42),
            "defect": ZeroDivisionError("secret inside"),
        }
        raise failures[kind]

    return blp
