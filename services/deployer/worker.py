"""The deployer's worker: relay, consumers and timers put together."""

from __future__ import annotations

import os
from collections.abc import Sequence

from kernel import housekeeping, signing, telemetry, worker
from kernel.db import Database
from kernel.messaging import topology
from kernel.messaging.consumer import Consumer
from kernel.messaging.parked_gauge import ParkedGauge
from kernel.outbox import Relay
from kernel.settings import load
from kernel.worker import Part, Timer
from services.deployer.messages import EVENTS, REPORTS, ReportsHandler, events_handler, read_report
from services.deployer.provisioning import Provisioner
from services.deployer.settings import WorkerSettings
from services.deployer.usecases.deadlines import watch_clock
from services.deployer.usecases.forget import forget_events
from services.deployer.usecases.reconcile import Reconciler
from services.deployer.usecases.removals import send_due

_CLOCK_SECONDS = 1.0
_REMOVALS_SECONDS = 5.0
_RECONCILE_TICK_SECONDS = 2.0
_HOUSEKEEPING_SECONDS = 3600.0
_REPORTS_PREFETCH = 500


def parts(settings: WorkerSettings, db: Database) -> Sequence[Part]:
    """Everything that runs in the worker, a thread each; any number of workers may run."""
    signing_key = signing.load_signing_key(settings.signing_key_file)
    provisioner = Provisioner(settings.broker_management_url, settings.agent_broker_url)
    reconciler = Reconciler(db, provisioner)
    reconciling = Timer("reconcile", _RECONCILE_TICK_SECONDS, reconciler.tick)

    def on_wiped() -> None:
        reconciler.ask()
        reconciling.wake()

    def keep_house() -> None:
        housekeeping.forget_old(db)
        forget_events(db, days=settings.event_days)

    return (
        Relay(settings.database_url, topology.CORE, settings.broker_core_url, "deployer"),
        Relay(settings.database_url, topology.AGENTS, settings.broker_agents_url, "deployer", on_wiped),
        Consumer(
            settings.broker_agents_url,
            REPORTS,
            ReportsHandler(db, signing_key),
            name="deployer reports",
            read=read_report,
            prefetch=_REPORTS_PREFETCH,
        ),
        Consumer(settings.broker_core_url, EVENTS, events_handler(db, provisioner), name="deployer events"),
        Timer("deadlines", _CLOCK_SECONDS, lambda: watch_clock(db, signing_key)),
        Timer("removals", _REMOVALS_SECONDS, lambda: send_due(db, signing_key)),
        reconciling,
        Timer("housekeeping", _HOUSEKEEPING_SECONDS, keep_house),
        ParkedGauge({EVENTS: settings.broker_core_url, REPORTS: settings.broker_agents_url}),
    )


def main() -> int:
    settings = load(WorkerSettings, os.environ)
    telemetry.configure_logging("deployer.worker", form=settings.log_format, level=settings.log_level)
    db = Database(settings.database_url, pool_size=5, name="deployer.worker")
    return worker.run(parts(settings, db), metrics_port=settings.metrics_port or None)


if __name__ == "__main__":
    raise SystemExit(main())
