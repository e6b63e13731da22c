"""What each server process counts for Prometheus; labels are routes and types, never ids or names of anybody's."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUEST_SECONDS = Histogram(
    "fairlead_request_seconds",
    "How long requests took, by route and status.",
    ["method", "route", "status"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2.0, 10.0),
)
MESSAGES_HANDLED = Counter("fairlead_messages_handled_total", "Messages that a consumer was given, by result.", ["consumer", "result"])
OUTBOX_RELAYED = Counter("fairlead_outbox_relayed_total", "Messages that the broker has confirmed.", ["vhost"])
OUTBOX_WAITING = Gauge("fairlead_outbox_waiting", "Messages that the broker has not taken.", ["vhost"])
PARKED = Gauge("fairlead_parked_messages", "Messages that could not be handled and wait for somebody, by queue.", ["queue"])
