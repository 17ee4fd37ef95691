"""Mails: what is in them, who gets them, and what a server's word means at each step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.email import mapping, wire
from adapters.email.destination import Email
from adapters.email.fake import SALES, USER, PostOffice, text_of
from adapters.email.settings import EmailSettings
from bridge.errors import Ambiguous, AuthError, BridgeError, RowRejected, Throttled, Unavailable
from bridge.frozen import replace
from bridge.model import Outgoing
from bridge.ports import Fate, Level, Sealed
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault, FaultPlan
from bridge.tools import Tools
from tests.support import NOTICE, START, simulated

LABEL = "0123456789abcdef0123456789abcdef"
SAMPLE = Path(__file__).parents[3] / "adapters" / "email" / "samples" / "mail.eml"


@dataclass
class Here:
    fake: PostOffice
    tools: Tools

    def port(self, **changes: Any) -> Email:
        return Email(EmailSettings.model_validate(self.fake.settings() | changes), self.tools)

    async def send(self, row: Outgoing = NOTICE, **changes: Any) -> tuple[Fate, str]:
        port = self.port(**changes)
        answer = await port.send(Sealed(LABEL, port.render([row], LABEL), (row.delivery,)))
        return answer.outcomes[0].fate, answer.outcomes[0].code


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    fake = PostOffice(ManualClock(START))
    async with simulated(fake, tmp_path) as tools:
        yield Here(fake, tools)


def settings(**changes: Any) -> EmailSettings:
    base = {"kind": "email", "host": "smtp.okna.example", "sender": USER, "to": {"sales": SALES}}
    return EmailSettings.model_validate(base | changes)


def test_a_mail_has_these_letters() -> None:
    """The sample: its id is the batch's, and no date, which comes when it goes."""
    row = replace(NOTICE, occurred_at=START.replace(day=10))
    body = mapping.render(row, LABEL, settings(), "Europe/Moscow").body
    assert body == SAMPLE.read_bytes().replace(b"\n", b"\r\n")


async def test_every_recipient_of_a_name_gets_the_mail_with_a_date(here: Here) -> None:
    """One mail to all of them; the date is that of sending."""
    assert await here.send(to={"sales": [SALES, "head@okna.example"]}) == (Fate.ACCEPTED, "")
    ((sender, recipients, mail),) = here.fake.mails
    assert (sender, recipients) == (USER, (SALES, "head@okna.example"))
    message = message_from_bytes(mail, policy=policy.default)
    assert message["Date"].datetime == START
    assert message["Message-ID"] == f"<{LABEL}@okna.example>"
    assert text_of(mail) == "qualified: lead:5123, 100000.50 RUB, 2026-03-02 12:00"


async def test_cyrillic_words_and_lonely_dots_arrive(here: Here) -> None:
    """Whatever a template says; a line of one dot would end the mail."""
    words = "Заявка «{goal}»\n.\n..\nhttps://okna.amocrm.ru/leads/detail/{id}"
    assert await here.send(template=words, subject="Заявка {id}") == (Fate.ACCEPTED, "")
    mail = here.fake.mails[0][2]
    assert text_of(mail) == "Заявка «qualified»\n.\n..\nhttps://okna.amocrm.ru/leads/detail/5123"
    assert message_from_bytes(mail, policy=policy.default)["Subject"] == "Заявка 5123"


def test_a_subject_never_makes_a_header() -> None:
    """A goal's name is one line, whatever is in it."""
    body = mapping.render(replace(NOTICE, goal="a\r\nBcc: x@okna.example"), LABEL, settings(), "UTC").body
    assert message_from_bytes(body, policy=policy.default)["Bcc"] is None
    assert wire.recipients(body) == [SALES]


async def test_one_unknown_recipient_and_nobody_gets_it(here: Here) -> None:
    """Half a mail cannot be told from a whole one afterwards."""
    here.fake.refuses.add("gone@okna.example")
    assert await here.send(to={"sales": [SALES, "gone@okna.example"]}) == (Fate.REJECTED, "recipient_refused")
    assert here.fake.mails == []


async def test_a_name_without_addresses_is_the_rows_fault(here: Here) -> None:
    """And check says which names there are."""
    with pytest.raises(RowRejected):
        await here.send(replace(NOTICE, target="head"))
    (_, finding) = await here.port().check({"qualified": "head"})
    assert finding.level is Level.ERROR
    assert "sales" in finding.message


@pytest.mark.parametrize(
    ("fault", "expected", "taken"),
    [
        (Fault.THROTTLE, Throttled, 0),
        (Fault.ERROR_BEFORE, Throttled, 0),
        (Fault.LOST_ANSWER, Ambiguous, 1),
        (Fault.CUT_BODY, Ambiguous, 1),
    ],
)
async def test_only_an_answer_that_is_lost_leaves_a_doubt(
    here: Here, fault: Fault, expected: type[BridgeError], taken: int
) -> None:
    """A server that says later has not taken the mail."""
    here.fake.faults = FaultPlan(1, {fault: 1.0})
    with pytest.raises(expected):
        await here.send()
    assert len(here.fake.mails) == taken


async def test_a_server_that_is_away_got_nothing(here: Here) -> None:
    """So the mail may go again without a doubt."""
    await here.fake.stop()
    with pytest.raises(Unavailable):
        await here.send()


async def test_a_wrong_password_stops_and_is_not_repeated(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the error, nor are the addresses."""
    (name,) = here.fake.secrets()
    monkeypatch.setenv(name, "no-such-secret-5f0e")
    with pytest.raises(AuthError) as raised:
        await here.send()
    assert raised.value.is_final
    assert not any(word in str(raised.value) for word in ("no-such-secret-5f0e", SALES, USER))


async def test_a_server_that_says_nothing_is_waited_for_in_vain_and_got_nothing(here: Here) -> None:
    """It hangs up in the middle of its greeting."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        with pytest.raises(Unavailable):
            await here.send(port=server.sockets[0].getsockname()[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"security": "none"},
        {"user": "x"},
        {"password": {"env": "X"}},
        {"sender": "nobody"},
        {"to": {}},
        {"to": {"sales": []}},
        {"to": {"sales": "a@b\r\nRCPT TO:<c@d>"}},
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any]) -> None:
    """A password in the clear over the internet, half a login, nobody to tell."""
    with pytest.raises(ValidationError):
        settings(**changes)
