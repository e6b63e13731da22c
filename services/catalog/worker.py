"""The catalog's worker: the inbox, the outbox relay, and what is done now and then."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import structlog

from kernel import housekeeping, telemetry, worker
from kernel.db import Database
from kernel.inbox import InboxHandler, one_by_one
from kernel.keyring import KeyRing
from kernel.messaging import topology
from kernel.messaging.consumer import Consumer
from kernel.messaging.parked_gauge import ParkedGauge
from kernel.outbox import Relay
from kernel.settings import load
from services.catalog.messages import HANDLERS, QUEUE
from services.catalog.settings import WorkerSettings
from services.catalog.usecases import registries, teams
from services.catalog.usecases.registries import Vault

log = structlog.get_logger(__name__)

_PINS_SECONDS = 30.0
_HOURLY_SECONDS = 3600.0


def parts(settings: WorkerSettings, db: Database) -> list[worker.Part]:
    """Everything that the worker runs."""
    vault = Vault(KeyRing.load(settings.encryption_keys_file))
    inbox = InboxHandler(db, QUEUE, one_by_one(HANDLERS))
    timers: list[tuple[str, float, Callable[[], None]]] = [
        ("expired pins", _PINS_SECONDS, lambda: teams.forget_expired_pins(db)),
        ("housekeeping", _HOURLY_SECONDS, lambda: _keep_house(db, settings)),
        ("reseal", _HOURLY_SECONDS, lambda: _reseal(db, vault)),
    ]
    return [
        Consumer(settings.broker_core_url, QUEUE, inbox, name="catalog inbox"),
        Relay(settings.database_url, topology.CORE, settings.broker_core_url, "catalog"),
        *(worker.Timer(name, seconds, action) for name, seconds, action in timers),
        ParkedGauge({QUEUE: settings.broker_core_url}),
    ]


def _keep_house(db: Database, settings: WorkerSettings) -> None:
    housekeeping.forget_old(db)
    teams.forget_deleted_deployments(db, days=settings.deleted_deployment_days)


def _reseal(db: Database, vault: Vault) -> None:
    done = registries.reseal(db, vault)
    if done:
        log.info("registry passwords encrypted with the newest key", registries=done)


def main() -> int:
    settings = load(WorkerSettings, os.environ)
    telemetry.configure_logging("catalog.worker", form=settings.log_format, level=settings.log_level)
    db = Database(settings.database_url, pool_size=4, name="catalog.worker")
    return worker.run(parts(settings, db), metrics_port=settings.metrics_port or None)


if __name__ == "__main__":
    sys.exit(main())
