"""``bridge check``: what is wrong with an account, a scope or a setting is a finding that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.hubspot.fake_schema import CONTACTS, CURRENCY, DEALS
from adapters.hubspot.settings import SCOPES
from adapters.hubspot.source import HubSpotSource
from bridge.ports import Level
from tests.adapters.hubspot.kit import Rig, running


async def said(source: HubSpotSource, *levels: Level) -> dict[str, str]:
    """Messages by subject, of these levels or of all."""
    return {one.subject: one.message for one in await source.check() if not levels or one.level in levels}


async def wrong(rig: Rig, **settings: Any) -> dict[str, str]:
    return await said(rig.another(**settings), Level.ERROR, Level.WARNING)


async def test_a_sound_account_is_told_about(tmp_path: Path) -> None:
    """Token, records, associations, pipelines, properties, currency: all fine, nothing changed."""
    async with running(tmp_path) as rig:
        rig.deal()
        findings = await said(rig.source)
        assert await wrong(rig) == {}
        assert {"token", "contacts", "deals", "associations", "pipelines", "currency"} <= set(findings)
        assert findings["pipelines"] == '3: "Contacts", "Продажи", "Сервис"'
        assert findings["fields.client_id"] == '"ClientID Метрики" exists (contacts and deals)'
        assert findings["currency"] == "the account has one, taken for RUB; if that is wrong, set home_currency"
        assert [name for name in rig.portal.requests if "batch/create" in name or "PATCH" in name] == []
        rig.portal.data.properties[DEALS]["deal_currency_code"] = CURRENCY
        assert "each deal names its own" in (await said(rig.source))["currency"]


@pytest.mark.parametrize(
    ("scope", "subjects"),
    [
        (SCOPES[0], {"contacts", "associations"}),
        (SCOPES[1], {"deals", "associations"}),
    ],
)
async def test_a_missing_scope_is_named_where_it_is_missed(tmp_path: Path, scope: str, subjects: set[str]) -> None:
    """The others are still looked at."""
    async with running(tmp_path) as rig:
        rig.portal.tokens.scopes = tuple(name for name in SCOPES if name != scope)
        found = await wrong(rig)
        assert set(found) == subjects
        assert all(scope in text for text in found.values())


async def test_without_any_scope_for_properties_names_cannot_be_read(tmp_path: Path) -> None:
    """Reading objects is enough for their properties, too; without either that is said."""
    async with running(tmp_path) as rig:
        rig.portal.tokens.scopes = SCOPES[1:2]
        found = await wrong(rig)
        assert "crm.schemas.contacts.read" in found["pipelines and properties"]
        rig.portal.tokens.scopes = SCOPES[:2]
        assert await wrong(rig) == {}


async def test_a_refused_token_ends_the_check(tmp_path: Path) -> None:
    """One finding instead of one for each request; the token is not repeated."""
    async with running(tmp_path) as rig:
        rig.portal.tokens.revoke()
        findings = await rig.source.check()
        assert [(one.subject, one.level) for one in findings] == [("token", Level.ERROR)]
        assert rig.portal.tokens.private not in findings[0].message


async def test_a_property_that_does_not_exist_is_named_with_the_nearest(tmp_path: Path) -> None:
    """Wherever a setting names one."""
    async with running(tmp_path) as rig:
        found = await wrong(
            rig,
            fields={"yclid": ["yclidd"], "user_id": ["zzz"]},
            properties=["Deal Nme"],
            loss_reason_field="closed_lost_reasons",
        )
        assert found["fields.yclid"] == 'no property is called "yclidd"; did you mean yclid, gclid?'
        assert found["fields.user_id"] == 'no property is called "zzz"'
        assert "Deal Name" in found["properties"]
        assert "closed_lost_reason" in found["loss_reason_field"]


async def test_a_number_property_for_a_click_id_is_warned_of(tmp_path: Path) -> None:
    """Long ids lose digits in it (contract 4: single-line text, never number)."""
    async with running(tmp_path) as rig:
        known = rig.portal.data.properties[CONTACTS]
        known["yclid"] = type(known["yclid"])("yclid", "yclid", "number", "number", is_own=True)
        found = await wrong(rig, fields={"yclid": ["yclid"]})
        assert "contacts is no text" in found["fields.yclid"]


async def test_a_property_that_the_user_may_not_see_is_told(tmp_path: Path) -> None:
    """Without the time of change nothing could be read by windows."""
    async with running(tmp_path) as rig:
        del rig.portal.data.properties[CONTACTS]["lifecyclestage"]
        assert "contacts.lifecyclestage" in (await wrong(rig))["properties"]


async def test_only_what_is_read_is_asked_for(tmp_path: Path) -> None:
    """Deals need contacts; contacts alone need no deals and no currency."""
    async with running(tmp_path) as rig:
        deals = await said(rig.another(entities=["deal"]))
        assert {"contacts", "deals", "currency"} <= set(deals)
        assert deals["pipelines"] == '2: "Продажи", "Сервис"'
        rig.portal.tokens.scopes = (SCOPES[0], SCOPES[2])
        contacts = await said(rig.another(entities=["contact"]))
        assert "currency" not in contacts
        assert "deals" not in contacts
        assert await wrong(rig, entities=["contact"]) == {}
