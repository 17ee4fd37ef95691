"""A row to a mail. Pure."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP

from adapters.email.settings import EmailSettings
from bridge.errors import RowRejected
from bridge.model import Outgoing
from bridge.notices import fill, text_of
from bridge.ports import Payload


def render(row: Outgoing, label: str, settings: EmailSettings, zone: str) -> Payload:
    """The mail about one row, without its date: the same row and label give the same bytes.

    Its Message-ID is the label, by which many mailboxes show a repeated mail once.

    Raises:
        RowRejected: ``send`` names somebody whom ``to`` does not have.
    """
    mail = EmailMessage(policy=SMTP)
    mail["Message-ID"] = f"<{label}@{settings.sender.rpartition('@')[2]}>"
    mail["From"] = settings.sender
    mail["To"] = ", ".join(recipients(settings, row.target))
    mail["Subject"] = " ".join(fill(settings.subject, row, zone).split())
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text_of(row, settings, zone), cte="base64")
    return Payload(mail.as_bytes(), "message/rfc822")


def recipients(settings: EmailSettings, target: str) -> list[str]:
    """The addresses behind a name.

    Raises:
        RowRejected: there are none.
    """
    found = settings.to.get(target)
    if found is None:
        raise RowRejected(f"nobody is called {target!r} in to", code="unknown_recipient")
    return found
