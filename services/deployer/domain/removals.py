"""Clearing a place until its node says that it is clear: when to ask again, and what a refusal means."""

from __future__ import annotations

from enum import StrEnum

REMOVE = "deployer.place.remove.v1"

# An agent gives its containers their time to stop, and answers when the last one is gone.
_FIRST_PAUSE_SECONDS = 60
_LONGEST_PAUSE_SECONDS = 3600


def pause_seconds(tries: int) -> int:
    """How long to wait for an answer, or after a failure, before the `tries`-th order is given again."""
    return min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS << min(max(0, tries - 1), 10))


class Refusal(StrEnum):
    """What a refused order to clear a place leads to."""

    SEND_AGAIN = "send-again"
    ASK_WHERE_IT_STANDS = "ask-where-it-stands"
    GIVE_UP = "give-up"
    WAIT = "wait"


def react_to_refusal(code: str) -> Refusal:
    """A stale epoch is none of the order's fault. `superseded` may be about an older order: the node's hello says what it knows.

    A generation that belongs to an attempt is one that was lost here: what stands there was not meant, and stays.
    """
    if code in ("stale-epoch", "expired"):
        return Refusal.SEND_AGAIN
    if code == "superseded":
        return Refusal.ASK_WHERE_IT_STANDS
    return Refusal.GIVE_UP if code == "generation-conflict" else Refusal.WAIT
