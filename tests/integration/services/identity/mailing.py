"""A real SMTP server for identity's tests, and what the worker does with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller

from deploy.native.ports import free_port
from services.identity.smtp import Mailer
from services.identity.usecases.mails import send_due

if TYPE_CHECKING:
    from tests.integration.services.identity.conftest import Identity


@dataclass
class PostOffice:
    """What aiosmtpd hands over; may be told to refuse."""

    port: int
    answer: str = "250 OK"
    letters: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Any, mail: Any) -> str:  # Any: aiosmtpd has no types
        if self.answer.startswith("250"):
            self.letters.append(message_from_bytes(mail.content, policy=policy.default))
        return self.answer

    async def handle_RCPT(self, _server: Any, _session: Any, mail: Any, address: str, _options: Any) -> str:
        if self.answer.startswith("550"):
            return self.answer
        mail.rcpt_tos.append(address)
        return "250 OK"

    def token(self) -> str:
        """The token in the newest letter's link."""
        found = re.search(r"https://fairlead\.example/[\w-]+#token=([\w-]{43})", self.letters[-1].get_content())
        assert found
        return found[1]


@contextmanager
def open_post_office() -> Iterator[PostOffice]:
    """An SMTP server on loopback."""
    office = PostOffice(free_port())
    controller = Controller(office, hostname="127.0.0.1", port=office.port, ready_timeout=60)
    controller.start()
    try:
        yield office
    finally:
        controller.stop()


@dataclass(frozen=True)
class Mailing:
    identity: Identity
    office: PostOffice

    def deliver(self) -> int:
        """What the worker does every two seconds."""
        return send_due(self.identity.parts, Mailer(self.identity.parts.settings).send)
