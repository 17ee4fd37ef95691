"""What is read from an amoCRM webhook: numbers of leads, whatever else is in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.amocrm import hooks
from adapters.amocrm.fake_hooks import HookDesk, decided
from adapters.amocrm.fake_store import ACCOUNT, SimLead
from adapters.amocrm.fake_tokens import TokenDesk
from adapters.amocrm.settings import AmoCrmSettings
from bridge.errors import Refused
from bridge.hints import Hook
from bridge.sim.clock import ManualClock
from tests.support import START


def hook(*pairs: tuple[str, str]) -> Hook:
    return Hook("", {}, urlencode(pairs).encode(), START)


def read(*pairs: tuple[str, str], account: str = "") -> tuple[str, ...]:
    return hooks.leads_of(hook(*pairs), account=account)


@pytest.mark.parametrize("action", ["add", "update", "status", "delete", "restore", "responsible"])
def test_the_body_the_vendor_sends_names_its_lead(action: str) -> None:
    """Every field of it in the names of version 2, the lead's own number alone counts: not the ids of its fields, tags
    and people (contract amocrm 8.2)."""
    lead = SimLead(
        10_500_001,
        1_759_900_000,
        b'"\\u0417\\u0430\\u044f\\u0432\\u043a\\u0430"',
        1,
        (1, b'"x"'),
        b"[]",
        b'[{"field_id":610963,"field_name":"yclid","field_code":"YCLID","values":[{"value":"123"}]}]',
    )
    form = HookDesk(ManualClock(START)).form(action, lead, 47_001_002)
    assert read(*form, account=str(ACCOUNT)) == ("lead:10500001",)


def test_one_post_may_name_many() -> None:
    """Several indexes and actions, each lead once, in their order; a note names the lead it is on."""
    pairs = [(f"leads[status][{n}][id]", str(n)) for n in (3, 1)]
    note = [("leads[note][0][note][element_id]", "9"), ("leads[note][0][note][element_type]", "2")]
    assert read(*pairs, ("leads[update][0][id]", "3"), *note) == ("lead:3", "lead:1", "lead:9")


@pytest.mark.parametrize("accepts", [True, False])
def test_an_incoming_lead_that_is_decided_is_a_hint(*, accepts: bool) -> None:
    """It was accepted or declined: the lead it became has changed."""
    assert read(*decided(77, accepts=accepts)) == ("lead:77",)


def test_contacts_companies_and_tasks_are_of_no_use() -> None:
    """They share the key "contacts" (contract amocrm 15.11), and hold leads' numbers under other names."""
    pairs = [("contacts[update][0][id]", "5"), ("contacts[update][0][linked_leads_id][7][ID]", "7")]
    assert read(*pairs, ("task[add][0][element_id]", "8"), ("account[id]", str(ACCOUNT)), account=str(ACCOUNT)) == ()


@pytest.mark.parametrize("value", ["", "0", "-5", "5.0", "five", "٥", "1" * 20, " 5", "0x5", "1" * 30])
def test_a_number_that_is_none_names_nobody(value: str) -> None:
    """Nor does it spoil the others."""
    assert read(("leads[add][0][id]", value), ("leads[add][1][id]", "6")) == ("lead:6",)


def test_a_webhook_of_another_account_is_refused() -> None:
    """The secret is in the address, which may have been copied; what says nothing of an account is let in."""
    pairs = (("leads[add][0][id]", "6"), ("account[id]", "99"))
    assert read(*pairs) == ("lead:6",)
    assert read(*pairs[:1], account=str(ACCOUNT)) == ("lead:6",)
    with pytest.raises(Refused) as refused:
        read(*pairs, account=str(ACCOUNT))
    assert refused.value.code == "other_account"


def test_the_account_is_the_one_the_token_is_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long-lived token tells it, the configuration may, and with OAuth alone nobody knows."""
    desk = TokenDesk(ManualClock(START), "sim", timedelta(0))
    monkeypatch.setenv("T", desk.long_lived)
    monkeypatch.setenv("H", "x" * 20)
    token = {"token": {"env": "T"}}
    oauth = {"client_id": "x", "client_secret": {"env": "T"}, "redirect_uri": "https://x.example"}
    foreign = hook(("account[id]", "99"))

    def refuses(auth: object, **more: object) -> bool:
        section = {"base_url": "https://okna.amocrm.ru", "auth": auth, "hook": {"secret": {"env": "H"}, **more}}
        try:
            hooks.reader(AmoCrmSettings.model_validate(section), tmp_path)(foreign)
        except Refused:
            return True
        return False

    assert refuses(token)
    assert refuses(oauth, account_id=ACCOUNT)
    assert not refuses(token, account_id=99)
    assert not refuses(oauth)
    monkeypatch.setenv("T", "not a token")
    assert not refuses(token)


_PIECES = ["leads", "[", "]", "add", "0", "id", "=", "&", "account", "%D0", "+", "unsorted", "accept_result", "note"]
_bodies: st.SearchStrategy[bytes] = st.one_of(
    st.binary(max_size=400), st.lists(st.sampled_from(_PIECES), max_size=60).map(lambda parts: "".join(parts).encode())
)


@given(_bodies)
def test_garbage_is_refused_or_names_only_numbers(body: bytes) -> None:
    """Nothing else comes out, and nothing is raised but a refusal."""
    try:
        found = hooks.leads_of(Hook("", {}, body, START), account="")
    except Refused:
        return
    assert all(key.startswith("lead:") and key[5:].isdigit() and int(key[5:]) > 0 for key in found)


_ids = st.integers(1, 2**61)


@given(st.lists(_ids, max_size=20), st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=10))
def test_every_lead_that_is_named_is_found(ids: list[int], others: Sequence[tuple[str, str]]) -> None:
    """Whatever stands around it."""
    noise = [(f"x{name}".encode("utf-8", "replace").decode(), value) for name, value in others]
    noise = [(name, value.encode("utf-8", "replace").decode()) for name, value in noise]
    pairs = [(f"leads[update][{n}][id]", str(own)) for n, own in enumerate(ids)]
    assert read(*noise, *pairs) == tuple(dict.fromkeys(f"lead:{own}" for own in ids))
