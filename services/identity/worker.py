"""Identity's worker: relays its outbox, sends mails, forgets, replaces signing keys."""

from __future__ import annotations

import os

from kernel import telemetry
from kernel import worker as kernel_worker
from kernel.errors import FieldError, Invalid
from kernel.messaging import topology
from kernel.outbox import Relay
from kernel.settings import load
from kernel.worker import Part, Timer
from services.identity.settings import Settings
from services.identity.usecases import mails, upkeep
from services.identity.usecases.parts import Parts, make_parts

_HOUR = 3600.0
_MAIL_SECONDS = 2.0


def make_worker_parts(settings: Settings, parts: Parts) -> list[Part]:
    """The worker's threads."""
    if not settings.broker_core_url:
        raise Invalid(
            [FieldError("FAIRLEAD_BROKER_CORE_URL", "is missing")], code="settings-invalid", detail="FAIRLEAD_BROKER_CORE_URL is missing"
        )
    threads: list[Part] = [
        Relay(settings.database_url, topology.CORE, settings.broker_core_url, "identity"),
        Timer("forget", _HOUR, lambda: upkeep.forget_old(parts)),
        Timer("keys", _HOUR, lambda: upkeep.rotate_keys_in_time(parts)),
    ]
    if settings.sends_mail:
        from services.identity.smtp import Mailer

        mailer = Mailer(settings)

        def send_mails() -> None:
            mails.send_due(parts, mailer.send)

        threads.append(Timer("mails", _MAIL_SECONDS, send_mails))
    return threads


def main() -> int:
    settings = load(Settings, os.environ)
    telemetry.configure_logging("identity.worker", form=settings.log_format, level=settings.log_level)
    parts = make_parts(settings, "identity.worker")
    return kernel_worker.run(make_worker_parts(settings, parts), metrics_port=settings.metrics_port or None)


if __name__ == "__main__":
    raise SystemExit(main())
