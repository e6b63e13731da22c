"""Server-sent events: a deployment's log from any point with nothing missed and nothing twice, and a team's live events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Flask, Response, request

from gateway.caller import Caller, find_caller
from gateway.live import Event, Subscription
from gateway.parts import Parts
from gateway.routing import names
from kernel import clock, telemetry
from kernel.errors import FairleadError, FieldError, Forbidden, Invalid, NotFound, Unauthenticated, Unavailable
from kernel.permissions import Action

_PAGE = 200
_POLL_SECONDS = 0.5
_CHECK_SECONDS = 5.0
_HEARTBEAT_SECONDS = 10.0
# A stream whose token could not be checked for this long ends.
_UNCHECKED_SECONDS = 30.0
_KINDS = ("status", "step", "log")
# Of a live event's data; before and after stay in the audit log.
_HIDDEN = ("before", "after", "verify_key", "seal_key", "reason")

_TEAM = "/api/v1/teams/<uuid:team_id>"


@dataclass(frozen=True)
class Page:
    """Some of a deployment's events; `done` says that nothing is being worked on and all was read. Any: JSON.

    `lost`: some before them are kept no longer. `last` is the number to read on from.
    """

    items: list[dict[str, Any]]
    more: bool
    done: bool
    status: str
    lost: bool = False
    last: int = 0


_NOTHING = Page([], more=False, done=False, status="")


@dataclass(frozen=True)
class DeploymentLog:
    """A deployment as its service tells it, asked with the looker's own token each time."""

    parts: Parts
    caller: Caller
    team_id: UUID
    deployment_id: UUID
    attempt: int | None = None

    def page(self, after: int) -> Page:
        """Events with a number above `after`, in order. Raises what the service refuses with, or Unavailable."""
        only = f"&attempt={self.attempt}" if self.attempt is not None else ""
        document = self._ask(f"/events?after={after}&limit={_PAGE}{only}")
        items = [item for item in document["items"] if int(item["number"]) > after]
        return Page(
            items,
            more=bool(document.get("more")),
            done=bool(document.get("done")),
            status=str(document.get("status")),
            lost=bool(document.get("lost")),
            last=int(document.get("next_after") or 0),
        )

    def _ask(self, rest: str) -> Any:  # JSON
        token = self.caller.internal_token(self.parts.exchange, self.team_id)
        headers = {"Authorization": f"Bearer {token}", "X-Correlation-ID": telemetry.correlation.get() or ""}
        path = f"/api/v1/teams/{self.team_id}/deployments/{self.deployment_id}{rest}"
        status, body = self.parts.upstreams["deployer"].fetch("GET", path, headers, timeout_seconds=10)
        if status == 200:
            return json.loads(body)
        refusals: dict[int, FairleadError] = {401: Unauthenticated(), 403: Forbidden(), 404: NotFound("deployment")}
        if status in refusals:
            raise refusals[status]
        raise Unavailable(f"The deployer answered {status}.", code="deployer-unavailable")


class DeploymentStream:
    """The events above `after`, then those that come, then `end`: the deployer says with a page that nothing follows it."""

    def __init__(self, log: DeploymentLog, live: Subscription, first: Page, after: int) -> None:
        self._log = log
        self._live = live
        self._page: Page | None = first
        self._after = after
        self._sent_at = self._read_at = clock.monotonic()

    def __iter__(self) -> Iterator[str]:
        yield "retry: 1000\n\n"
        while True:
            try:
                page = self._next_page()
            except Unavailable as error:
                if clock.monotonic() - self._read_at > _UNCHECKED_SECONDS:
                    yield _problem(error)
                    return
                page = _NOTHING
            except FairleadError as error:
                yield _problem(error)
                return
            if page.lost:
                yield _sse("lost", {"detail": "Events before this were too old to be kept: read on from here."})
            yield from map(self._sent, page.items)
            self._after = max(self._after, page.last)
            if page.done:
                yield _sse("end", {"status": page.status, "attempt": self._log.attempt})
                return
            if not page.more:
                yield from self._heartbeat()
                self._live.take(_POLL_SECONDS)

    def _next_page(self) -> Page:
        page, self._page = self._page, None
        if page is None:
            page = self._log.page(self._after)
            self._read_at = clock.monotonic()
        return page

    def _sent(self, item: dict[str, Any]) -> str:
        self._after = int(item["number"])
        self._sent_at = clock.monotonic()
        kind = str(item.get("kind"))
        return _sse(kind if kind in _KINDS else "step", item, number=self._after)

    def _heartbeat(self) -> Iterator[str]:
        if clock.monotonic() - self._sent_at > _HEARTBEAT_SECONDS:
            self._sent_at = clock.monotonic()
            yield ": still here\n\n"


def team_events(check: Callable[[], object], live: Subscription) -> Iterator[str]:
    """The team's events as they happen. `check` raises when the looker may look no longer."""
    yield "retry: 1000\n\n"
    checked_at = sent_at = clock.monotonic()
    while True:
        taken = live.take(_CHECK_SECONDS)
        if clock.monotonic() - checked_at >= _CHECK_SECONDS:
            try:
                check()
                checked_at = clock.monotonic()
            except Unavailable as error:
                if clock.monotonic() - checked_at > _UNCHECKED_SECONDS:
                    yield _problem(error)
                    return
            except FairleadError as error:
                yield _problem(error)
                return
        if live.lost:
            live.lost = False
            yield _sse("lost", {"detail": "Some events may have been missed here: read again what you show."})
        for event in taken:
            yield _sse(None, shown(event))
        if taken:
            sent_at = clock.monotonic()
        elif clock.monotonic() - sent_at > _HEARTBEAT_SECONDS:
            sent_at = clock.monotonic()
            yield ": still here\n\n"


def shown(event: Event) -> Event:
    """What of an event a team's members see live."""
    data = {name: value for name, value in (event.get("data") or {}).items() if name not in _HIDDEN}
    envelope = ("id", "type", "time", "subject", "actor", "actorname", "correlation")
    return {name: event.get(name) for name in envelope} | {"data": data}


def add_routes(app: Flask, parts: Parts) -> None:
    @app.get(f"{_TEAM}/deployments/<uuid:deployment_id>/events/stream")
    @names("deployments:read, checked by the deployer with each page")
    def deployment_stream(team_id: UUID, deployment_id: UUID) -> Response:
        log = DeploymentLog(parts, find_caller(parts.trusted), team_id, deployment_id, _number("attempt", request.args.get("attempt")))
        after = _number("Last-Event-ID", request.headers.get("Last-Event-ID") or request.args.get("after")) or 0
        opened = ExitStack()
        live = opened.enter_context(parts.live.subscribe(team_id, lambda event: _is_about(event, str(deployment_id))))
        # Subscribed first, then read: what happens in between wakes the stream. A refusal is an answer of its own.
        with ExitStack() as on_refusal:
            on_refusal.push(opened)
            first = log.page(after)
            on_refusal.pop_all()
        return _stream(DeploymentStream(log, live, first, after), opened)

    @app.get(f"{_TEAM}/events/stream")
    @names("events:read")
    def team_stream(team_id: UUID) -> Response:
        caller = find_caller(parts.trusted)
        _may_read_events(parts, caller.internal_token(parts.exchange, team_id), team_id)
        opened = ExitStack()
        live = opened.enter_context(parts.live.subscribe(team_id))
        return _stream(team_events(lambda: caller.internal_token(parts.exchange, team_id), live), opened)


def _may_read_events(parts: Parts, token: str, team_id: UUID) -> None:
    # Loaded only where a stream of a team is opened: the gateway is small without it.
    from kernel.http.auth import principal_from_claims
    from kernel.permissions import may

    who = principal_from_claims(parts.verifier.verify(token), token)
    if who.team_id != team_id:
        raise NotFound("team")
    if not may(who.role, who.scopes, "events", Action.READ):
        raise Forbidden


def _is_about(event: Event, deployment_id: str) -> bool:
    data = event.get("data")
    return isinstance(data, dict) and deployment_id in (data.get("deployment_id"), data.get("resource_id"))


def _number(field: str, text: str | None) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Invalid([FieldError(field, "must be a number")])
    return int(text)


def _stream(events: Iterable[str], opened: ExitStack) -> Response:
    response = Response(events, content_type="text/event-stream; charset=utf-8")
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(opened.close)
    return response


def _sse(name: str | None, data: object, *, number: int | None = None) -> str:
    head = f"id: {number}\n" if number is not None else ""
    head += f"event: {name}\n" if name else ""
    # JSON escapes line ends, so one data line is enough.
    return f"{head}data: {json.dumps(data, separators=(',', ':'), ensure_ascii=False)}\n\n"


def _problem(error: FairleadError) -> str:
    return _sse("problem", {"code": error.code, "detail": error.detail})
