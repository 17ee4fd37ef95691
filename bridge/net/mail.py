"""Mail handed to a server: SMTP by the standard library, in a thread. No retry; classes of errors say what to do."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import format_datetime

import certifi

from bridge.errors import Ambiguous, AuthError, Refused, Throttled, Unavailable
from bridge.tools import Clock, MailServer, Security


class MailClient:
    """See ``tools.Mail``. Answers of servers may repeat addresses, so no error text holds them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def greet(self, server: MailServer) -> None:
        """Connect, log in, leave."""
        await asyncio.to_thread(_with, server, lambda client: None)

    async def send(self, server: MailServer, sender: str, recipients: Sequence[str], message: bytes) -> None:
        """Hand in one message."""
        dated = f"Date: {format_datetime(self._clock.now())}\r\n".encode() + message
        await asyncio.to_thread(_with, server, lambda client: _hand_in(client, sender, recipients, dated))


def _with(server: MailServer, work: Callable[[smtplib.SMTP], None]) -> None:
    with _connection(server) as client:
        work(client)


@contextmanager
def _connection(server: MailServer) -> Iterator[smtplib.SMTP]:
    """A connection that is logged in; whatever fails before the message is complete has not arrived."""
    try:
        client = _connected(server)
    except (OSError, smtplib.SMTPException) as error:
        raise _not_connected(error) from None
    try:
        yield client
    except (OSError, smtplib.SMTPServerDisconnected):
        raise Unavailable("the mail server hung up before it had the whole message") from None
    finally:
        client.close()


def _connected(server: MailServer) -> smtplib.SMTP:
    tls = ssl.create_default_context(cafile=certifi.where())
    if server.security is Security.TLS:
        client: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=server.timeout, context=tls)
    else:
        client = smtplib.SMTP(server.host, server.port, timeout=server.timeout)
    try:
        client.ehlo_or_helo_if_needed()
        if server.security is Security.STARTTLS:
            client.starttls(context=tls)
        if server.user:
            client.login(server.user, server.password)
    except BaseException:
        client.close()
        raise
    return client


def _not_connected(error: Exception) -> Exception:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        if error.smtp_code < 500:
            return Throttled("the mail server lets nobody log in now")
        advice = "check user and password (many providers want a password made for programs)"
        return AuthError(f"the mail server refused the login ({error.smtp_code}); {advice}", is_final=True)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Refused("the mail server offers no login or no STARTTLS here; check port and security", code="security")
    if isinstance(error, ssl.SSLError):
        return Refused("no safe connection to the mail server; check host, port and security", code="security")
    if isinstance(error, smtplib.SMTPResponseException):
        return Throttled(f"the mail server takes nothing now ({error.smtp_code})")
    return Unavailable("the mail server cannot be reached; check host and port")


def _hand_in(client: smtplib.SMTP, sender: str, recipients: Sequence[str], message: bytes) -> None:
    _expect(client.mail(sender), "sender")
    for recipient in recipients:
        _expect(client.rcpt(recipient), "recipient")
    try:
        answer = client.data(message)
    except smtplib.SMTPDataError as error:
        answer = error.smtp_code, b""
    except (OSError, smtplib.SMTPServerDisconnected):
        raise Ambiguous("the mail server hung up without an answer to the message") from None
    if not 200 <= answer[0] < 600:
        raise Ambiguous("the mail server's answer to the message is cut")
    _expect(answer, "message")


def _expect(answer: tuple[int, bytes], what: str) -> None:
    """The server's reply to one step.

    Raises:
        Throttled, Refused: it is no yes.
    """
    status = answer[0]
    if 200 <= status < 300:
        return
    if not 500 <= status < 600:
        raise Throttled(f"the mail server says later to the {what} ({status})")
    raise Refused(f"the mail server refused the {what} ({status})", code=what)
