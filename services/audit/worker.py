"""The audit worker: records events and reports, signs a checkpoint an hour. It sends nothing, so it has no outbox."""

from __future__ import annotations

import os

from kernel import housekeeping, signing, telemetry
from kernel.db import Database
from kernel.messaging.consumer import Consumer
from kernel.messaging.parked_gauge import ParkedGauge
from kernel.settings import load
from kernel.worker import Timer, run
from services.audit import messages, usecases
from services.audit.settings import WorkerSettings

EVENTS = "audit.inbox"
REPORTS = "audit.reports"

_PREFETCH = 500
_CHECKPOINT_SECONDS = 60.0
_HOUSEKEEPING_SECONDS = 3600.0


def consumers(settings: WorkerSettings, db: Database) -> list[Consumer]:
    """One consumer for events, one for reports."""
    events = Consumer(
        settings.broker_core_url,
        EVENTS,
        messages.Recorder(db, messages.fact_of_event),
        name="audit events",
        read=messages.read_event,
        prefetch=_PREFETCH,
    )
    reports = Consumer(
        settings.broker_agents_url,
        REPORTS,
        messages.Recorder(db, messages.fact_of_report),
        name="audit reports",
        read=messages.ReportReader(db),
        prefetch=_PREFETCH,
    )
    return [events, reports]


def main() -> int:
    """Work until a signal comes."""
    settings = load(WorkerSettings, os.environ)
    telemetry.configure_logging("audit.worker", form=settings.log_format, level=settings.log_level)
    key = signing.load_signing_key(settings.signing_key_file)
    db = Database(settings.database_url, pool_size=4, name="audit.worker")

    def make_checkpoints() -> None:
        usecases.make_due_checkpoints(db, key)

    timers: list[Timer] = [
        Timer("checkpoints", _CHECKPOINT_SECONDS, make_checkpoints),
        Timer("housekeeping", _HOUSEKEEPING_SECONDS, lambda: housekeeping.forget_keys(db)),
        ParkedGauge({EVENTS: settings.broker_core_url, REPORTS: settings.broker_agents_url}),
    ]
    return run([*consumers(settings, db), *timers], metrics_port=settings.metrics_port or None)


if __name__ == "__main__":
    raise SystemExit(main())
