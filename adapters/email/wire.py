"""What is on the wire is a mail (RFC 5322); of a stored one the recipients are read again."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import SMTP
from email.utils import getaddresses


def recipients(mail: bytes) -> list[str]:
    """The addresses of its To."""
    message = message_from_bytes(mail, policy=SMTP)
    return [address for _, address in getaddresses([str(message["To"])])]
