"""A daemon that vendors post to: what changed is delivered at once, not at the next poll."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.amocrm.fake import AmoCrm
from adapters.amocrm.fake_store import FIRST_LEAD
from adapters.bitrix24.fake import Bitrix24
from adapters.bitrix24.fake_events import Outgoing
from adapters.hubspot.fake import HubSpot
from bridge.sim import toml
from bridge.sim.clock import SharedClock
from bridge.sim.events import Happening, Lead
from bridge.sim.server import SourceSimulator
from tests.adapters.amocrm.kit import NEW, QUALIFIED, lead, second, step
from tests.e2e.kit import (
    NOW,
    Background,
    Running,
    call,
    daemon,
    eventually,
    free_port,
    served,
    tenant,
    uploaded,
    write_config,
)

HOUR = timedelta(hours=1)
SECRET = "k3v0p1q8w2z7m4n6b9c5x1l2"
TOKEN = "q4t8zk2m7w1x5r9c3n6v0b8d2f4h6j1p"


class Town:
    """One source that is polled once a year, with webhooks."""

    def __init__(self, folder: Path, crm: SourceSimulator, background: Background) -> None:
        self.folder = folder
        self.crm = crm
        self.background = background
        self.port = free_port()

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def configure(self, **changes: Any) -> None:
        """Write the configuration, with changes to the source's section."""
        source = {**self.crm.settings(), "poll_every": "365d", **changes}
        okna = tenant(sources={"crm": {name: value for name, value in source.items() if value is not None}})
        path = write_config(self.folder, listen=f"127.0.0.1:{self.port}", okna=okna)
        web = toml.dumps({"web": {"listen": f"127.0.0.1:{self.port}", "public_url": self.public_url}})
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(toml.dumps({"web": {"listen": f"127.0.0.1:{self.port}"}}), web), encoding="utf-8")

    def happen(self, item: Lead) -> None:
        """Everything that happens to a lead."""
        for number, one in enumerate(item.steps):
            self.background.do(partial(self.crm.happen, Happening(one.at, item, one, is_new=not number)))

    def is_deleted(self, key: str) -> bool:
        """Whether a deal is known to be deleted."""
        return bool(call(self.folder, "explain", key, "--tenant", "okna", "--json").json["deal"]["is_deleted"])

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = call(self.folder, "status", "--json").json["tenants"]["okna"]["sources"]["crm"]
        return found


@contextmanager
def town(folder: Path, crm: SourceSimulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    monkeypatch.setenv("SIM_HOOK", SECRET)
    monkeypatch.setenv("SIM_HOOK_TOKEN", TOKEN)
    with served(crm) as background:
        for name, value in crm.secrets().items():
            monkeypatch.setenv(name, value)
        yield Town(folder, crm, background)


@pytest.fixture
def clock(tmp_path: Path) -> SharedClock:
    made = SharedClock(tmp_path / "clock")
    made.set(NOW)
    return made


def polled(here: Town, running: Running) -> None:
    """Until the first poll has delivered the first lead's goal; the next one is a year away."""
    eventually(here.folder, lambda: len(uploaded(here.folder)) == 1, "the first lead")
    eventually(here.folder, lambda: here.status()["watermark"], "the poll has ended")
    assert "Traceback" not in running.log


# --- amoCRM ------------------------------------------------------------------------------------------------------


def test_what_changes_in_amocrm_is_delivered_at_once(
    tmp_path: Path, clock: SharedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon registers its webhook by itself; a lead that qualifies is delivered by the webhook alone; one that the
    account has disabled is put right and said."""
    crm = AmoCrm(clock, is_limited=False)
    with town(tmp_path, crm, monkeypatch) as here:
        here.configure(hook={"secret": {"env": "SIM_HOOK"}})
        item = lead(1, step(NOW - 2 * HOUR, NEW), step(NOW - HOUR, QUALIFIED))
        here.happen(item)
        with daemon(tmp_path) as running:
            address = f"{here.public_url}/hooks/okna/crm/{SECRET}"
            eventually(tmp_path, lambda: address in crm.hooks.hooks, "the webhook is registered")
            polled(here, running)
            other = lead(2, step(clock.now(), NEW), step(clock.now(), QUALIFIED))
            here.happen(other)
            assert set(here.background.run(crm.hooks.deliver())) == {200}
            eventually(tmp_path, lambda: len(uploaded(tmp_path)) == 2, "the second lead, by its webhook")
            assert here.status()["hints_waiting"] == 0
            here.background.do(lambda: crm.store.delete(FIRST_LEAD + 2, second(clock.now())))
            assert here.background.run(crm.hooks.deliver()) == [200]
            eventually(tmp_path, lambda: here.is_deleted("lead:10500002"), "the lead is seen to be deleted")
            hook = crm.hooks.hooks[address]
            here.background.do(lambda: setattr(hook, "disabled", True))
            eventually(tmp_path, lambda: not hook.disabled, "the webhook is put right")
            eventually(tmp_path, lambda: "hook_restored" in running.log, "and said")
            assert running.stop() == 0
            assert SECRET not in running.log
            assert "Traceback" not in running.log


def test_a_webhook_reaches_a_daemon_that_does_not_work_for_the_tenant(
    tmp_path: Path, clock: SharedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It remembers the hint; the process that has the tenant's lock reads the record."""
    crm = AmoCrm(clock, is_limited=False)
    with town(tmp_path, crm, monkeypatch) as here:
        here.configure(hook={"secret": {"env": "SIM_HOOK"}})
        item = lead(1, step(NOW - 2 * HOUR, NEW), step(NOW - HOUR, QUALIFIED))
        here.happen(item)
        quiet = {"BRIDGE_WEB__LISTEN": ""}
        with daemon(tmp_path, env=quiet) as first:
            polled(here, first)
            with daemon(tmp_path) as second:
                eventually(tmp_path, lambda: "lock_waiting" in second.log, "the second one waits")
                other = lead(2, step(clock.now(), NEW), step(clock.now(), QUALIFIED))
                here.happen(other)
                assert set(here.background.run(crm.hooks.deliver())) == {200}
                eventually(tmp_path, lambda: len(uploaded(tmp_path)) == 2, "the first one has read it")
                assert "lock_taken" not in second.log


def test_the_registration_is_checked_and_taken_away(
    tmp_path: Path, clock: SharedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``check`` tells how the webhook is and changes nothing; ``hook remove`` takes away what the daemon has made."""
    crm = AmoCrm(clock, is_limited=False)
    with town(tmp_path, crm, monkeypatch) as here:
        here.configure(hook={"secret": {"env": "SIM_HOOK"}})

        def told() -> tuple[str, str]:
            findings = call(tmp_path, "check", "--json").json["okna/crm"]
            (found,) = [item for item in findings if item["subject"] == "webhook"]
            return found["level"], found["message"]

        assert told()[0] == "warning"
        assert "not registered" in told()[1]
        assert crm.hooks.hooks == {}
        with daemon(tmp_path):
            eventually(tmp_path, lambda: crm.hooks.hooks, "the webhook is registered")
        assert told() == ("ok", f"registered for {here.public_url}/hooks/okna/crm/...")
        next(iter(crm.hooks.hooks.values())).disabled = True
        assert told()[0] == "warning"
        assert "disabled" in told()[1]
        removed = call(tmp_path, "hook", "remove", "crm", "--tenant", "okna", "--json")
        assert (removed.status, removed.json) == (0, {"removed": 1, "still_wanted": True})
        assert crm.hooks.hooks == {}
        said = call(tmp_path, "hook", "remove", "crm", "--tenant", "okna")
        assert "0 taken away" in said.out
        assert "managed = false" in said.out
        here.configure(hook={"secret": {"env": "SIM_HOOK"}, "managed": False})
        assert told()[0] == "ok"
        assert "by hand" in told()[1]
        assert call(tmp_path, "hook", "remove", "b24", "--tenant", "okna").status == 2
        monkeypatch.delenv("SIM_HOOK")
        assert told()[0] == "error"
        said = call(tmp_path, "hook", "remove", "crm", "--tenant", "okna")
        assert (said.status, "SIM_HOOK" in said.err) == (2, True)


def test_a_source_without_webhooks_has_none_to_take_away(
    tmp_path: Path, clock: SharedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is said plainly, not what is missing for them."""
    with town(tmp_path, AmoCrm(clock, is_limited=False), monkeypatch) as here:
        here.configure(hook=None)
        said = call(tmp_path, "hook", "remove", "crm", "--tenant", "okna")
    assert said.status == 2
    assert 'source crm takes no webhooks: it has no "hook"' in said.err
    assert "public_url" not in said.err


def test_trouble_with_the_registration_needs_attention(
    tmp_path: Path, clock: SharedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account whose plan has no webhooks is read all the same; ``status`` says what to do, and nothing once it is
    done."""
    crm = AmoCrm(clock, is_limited=False)
    crm.hooks.is_in_plan = False
    with town(tmp_path, crm, monkeypatch) as here:
        here.configure(hook={"secret": {"env": "SIM_HOOK"}})
        item = lead(1, step(NOW - 2 * HOUR, NEW), step(NOW - HOUR, QUALIFIED))
        here.happen(item)
        with daemon(tmp_path) as running:
            polled(here, running)
            eventually(tmp_path, lambda: here.status()["hook_trouble"], "it is told")
            said = call(tmp_path, "status")
            assert said.status == 1
            assert "okna/crm: its webhook is not kept: Refused: the account's plan has no webhooks" in said.out
            crm.hooks.is_in_plan = True
            eventually(tmp_path, lambda: not here.status()["hook_trouble"], "it is over")
            assert call(tmp_path, "status").status == 0


# --- Bitrix24 ----------------------------------------------------------------------------------------------------


def portal(clock: SharedClock, **options: Any) -> Bitrix24:
    return Bitrix24(clock, is_limited=False, **options)


def test_what_changes_in_bitrix24_is_delivered_at_once(
    tmp_path: Path, clock: SharedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an outgoing webhook with the portal's token; doubled and shuffled; with another token nothing happens."""
    crm = portal(clock, mode="simple")
    with town(tmp_path, crm, monkeypatch) as here:
        here.configure(hook={"secret": {"env": "SIM_HOOK"}, "application_token": {"env": "SIM_HOOK_TOKEN"}})
        item = lead(2, step(NOW - 2 * HOUR, NEW), step(NOW - HOUR, QUALIFIED))
        here.happen(item)
        address = f"{here.public_url}/hooks/okna/crm/{SECRET}"
        events = frozenset({"ONCRMDEALADD", "ONCRMDEALUPDATE", "ONCRMDEALDELETE"})
        with daemon(tmp_path) as running:
            polled(here, running)
            crm.events.webhooks.append(Outgoing(address, events, "of somebody else"))
            other = lead(4, step(clock.now(), NEW), step(clock.now(), QUALIFIED))
            here.happen(other)
            assert set(here.background.run(crm.events.deliver())) == {404}
            assert here.status()["hook_age_s"] is None
            crm.events.webhooks[0].token = TOKEN
            here.background.do(partial(crm.data.update, "deal", 2, clock.now(), {"COMMENTS": "x"}))
            crm.events.pending *= 3
            assert set(here.background.run(crm.events.deliver())) == {200}
            eventually(tmp_path, lambda: len(uploaded(tmp_path)) == 2, "the second lead, by its webhook")
            here.background.do(partial(crm.data.delete, "deal", 2))
            assert here.background.run(crm.events.deliver()) == [200]
            eventually(tmp_path, lambda: here.is_deleted("deal:2"), "the deal is seen to be deleted")
            assert running.stop() == 0
            assert TOKEN not in running.log + (tmp_path / "config.toml").read_text(encoding="utf-8")


def test_offline_events_are_read_without_any_address_of_ours(
    tmp_path: Path, clock: SharedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon killed in the middle of it leaves nothing behind in the portal's queue for long."""
    crm = portal(clock, mode="simple", auth="oauth")
    with town(tmp_path, crm, monkeypatch) as here:
        here.configure(offline_events=True)
        item = lead(2, step(NOW - 2 * HOUR, NEW), step(NOW - HOUR, QUALIFIED))
        here.happen(item)
        with daemon(tmp_path) as running:
            polled(here, running)
            eventually(tmp_path, lambda: crm.events.bound, "the events are bound")
            running.process.kill()
            running.process.wait()
        other = lead(4, step(clock.now(), NEW), step(clock.now(), QUALIFIED))
        here.happen(other)
        assert len(crm.events.rows) == 4  # two of the lead, two of its deal
        for row in crm.events.rows[:3]:
            row.process = "a process that was killed"
        with daemon(tmp_path) as running:
            eventually(tmp_path, lambda: len(uploaded(tmp_path)) == 2, "the second lead, by the queue")
            eventually(tmp_path, lambda: crm.events.rows == [], "everything is confirmed")
            assert running.stop() == 0
            assert "Traceback" not in running.log


# --- HubSpot -----------------------------------------------------------------------------------------------------


def test_what_changes_in_hubspot_is_delivered_at_once(
    tmp_path: Path, clock: SharedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By lists of events that the app has signed for our public address; with another signature nothing happens, and
    what was refused comes again."""
    crm = HubSpot(clock, is_limited=False)
    with town(tmp_path, crm, monkeypatch) as here:
        monkeypatch.setenv("SIM_HOOK_APP", crm.tokens.client_secret)
        here.configure(hook={"secret": {"env": "SIM_HOOK"}, "client_secret": {"env": "SIM_HOOK_APP"}})
        here.happen(lead(1, step(NOW - 2 * HOUR, NEW), step(NOW - HOUR, QUALIFIED)))
        with daemon(tmp_path) as running:
            polled(here, running)
            crm.hooks.target = f"{here.public_url}/hooks/okna/crm/{SECRET}"
            crm.hooks.subscriptions = ("deal.creation", "deal.propertyChange:dealstage")
            crm.hooks.secret = "of somebody else"
            here.happen(lead(2, step(clock.now(), NEW), step(clock.now(), QUALIFIED)))
            assert set(here.background.run(crm.hooks.deliver())) == {404}
            eventually(tmp_path, lambda: "wrong_signature" in running.log, "it is refused")
            assert len(uploaded(tmp_path)) == 1
            crm.hooks.secret = crm.tokens.client_secret
            assert set(here.background.run(crm.hooks.deliver())) == {200}
            eventually(tmp_path, lambda: len(uploaded(tmp_path)) == 2, "the second lead, by its webhook")
            assert here.status()["hints_waiting"] == 0
            assert running.stop() == 0
            assert SECRET not in running.log
            assert crm.tokens.client_secret not in running.log
            assert "Traceback" not in running.log
