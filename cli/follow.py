"""Following a deployment's events to their end, over broken streams and tokens that run out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cli.client import ApiError, Client
from cli.problems import CommandError
from kernel import clock


def follow(client: Client, path: str, *, seconds: float, tell: Callable[[dict[str, Any]], None]) -> None:
    """Tell each event of the stream once, until the server says `end`. Raises CommandError `not-ended` after `seconds`.

    Any: the API's JSON.
    """
    deadline = clock.monotonic() + seconds
    last: str | None = None
    renewed_for: str | None = None
    while clock.monotonic() < deadline:
        try:
            for event in client.stream(path, after=last, seconds=deadline - clock.monotonic()):
                last = event.id or last
                if event.event == "end":
                    return
                if event.event not in ("problem", "lost"):
                    tell(event.data)
        except ApiError as error:
            # Each access token is renewed once: what is refused with a new one is refused.
            if error.status != 401 or client.token == renewed_for or not client.renew():
                raise
            renewed_for = client.token
    raise CommandError("not-ended", f"It has not ended within {seconds:.0f} s, and goes on. Look again with `fairlead deployment show`.")
