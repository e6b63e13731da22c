"""Hands mails to the SMTP server that the settings name; loaded only where one is named."""

from __future__ import annotations

import smtplib
import ssl
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

import structlog

from kernel.errors import Unavailable
from services.identity.settings import Settings
from services.identity.usecases.mails import Letter

log = structlog.get_logger(__name__)

_TIMEOUT_SECONDS = 15


class Mailer:
    """One connection a mail: they are few."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def send(self, letter: Letter) -> bool:
        """True when the server took it, False when it never will. Raises Unavailable when it may later."""
        try:
            with self._connect() as server:
                server.send_message(self._message(letter))
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            if all(code >= 500 for code in codes):
                log.warning("mail refused for good", codes=codes)
                return False
            raise Unavailable("The mail server refused for now.", code="mail-server-unavailable") from error
        except (smtplib.SMTPException, OSError) as error:
            raise Unavailable(f"The mail server: {type(error).__name__}.", code="mail-server-unavailable") from error
        except (ValueError, HeaderParseError) as error:
            log.warning("mail cannot be written", error=type(error).__name__)
            return False
        return True

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        if settings.smtp_security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                settings.smtp_host, settings.smtp_port, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=_TIMEOUT_SECONDS)
        if settings.smtp_security == "starttls":
            server.starttls(context=ssl.create_default_context())
        if settings.smtp_username:
            server.login(settings.smtp_username, settings.smtp_password)
        return server

    def _message(self, letter: Letter) -> EmailMessage:
        local, _, domain = letter.recipient.rpartition("@")
        message = EmailMessage()
        message["From"] = self._settings.smtp_from
        message["To"] = Address(username=local, domain=domain)
        message["Subject"] = letter.subject.replace("\n", " ").replace("\r", " ")
        message["Date"] = formatdate(localtime=False)
        message["Message-ID"] = make_msgid(domain="fairlead.invalid")
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text)
        return message
