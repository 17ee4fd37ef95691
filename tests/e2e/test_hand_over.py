"""People are told of leads, over real turns of the command line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from adapters.email.fake import PostOffice, text_of
from adapters.telegram.fake import Messenger
from bridge.sim.clock import SharedClock
from tests.e2e.kit import NOW, TENANT, TableRow, call, later, served, tenant, write_config, write_table

HOUR = timedelta(hours=1)
ZONE = timedelta(hours=3)


def test_a_lead_without_a_click_is_handed_over_once_and_not_at_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail goes at once, the bot waits for the morning; of last week's nobody is told, and why."""
    clock = SharedClock(tmp_path / "clock")
    clock.set(NOW)
    bot, mail = Messenger(clock), PostOffice(clock)
    quiet = f"{NOW + ZONE - HOUR:%H:%M}-{NOW + ZONE + HOUR:%H:%M}"
    with served(bot, mail):
        for name, value in {**bot.secrets(), **mail.secrets()}.items():
            monkeypatch.setenv(name, value)
        template = "{goal}: https://okna.example/{id}"
        sections = {
            "bot": {**bot.settings(), "quiet": quiet, "template": template},
            "mail": {**mail.settings(), "template": template},
        }
        goal = {"name": "qualified", "when": {"stage": ["Квалифицирован"]}, "send": {"bot": "sales", "mail": "sales"}}
        write_config(tmp_path, okna=tenant(destinations=sections, goals=[goal]))
        fresh = TableRow("1", at=NOW - HOUR, created_at=NOW - HOUR, yclid="")
        write_table(tmp_path, [fresh, TableRow("2", at=NOW - timedelta(days=7), yclid="")])
        call(tmp_path, "sync")
        assert [text_of(one) for _, _, one in mail.mails] == ["qualified: https://okna.example/1"]
        assert bot.messages == []
        later(tmp_path, HOUR)
        call(tmp_path, "sync")
        call(tmp_path, "sync")
    assert [text for _, text in bot.messages] == ["qualified: https://okna.example/1"]
    assert len(mail.mails) == 1
    old = call(tmp_path, "explain", "lead:2", "--tenant", TENANT, "--json").json["deliveries"]
    assert {(one["destination"], one["state"], one["reason"]) for one in old} == {
        ("bot", "expired", "window"),
        ("mail", "expired", "window"),
    }
