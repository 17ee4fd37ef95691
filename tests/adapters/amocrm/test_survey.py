"""The custom fields of an account as ``bridge init`` is told of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.model import IdKind
from tests.adapters.amocrm.kit import account, business, happenings

FIELDS_OF_CONTACTS = {"Телефон", "Email", "Должность"}


async def test_fields_are_named_so_that_the_setting_means_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name where it is the only one; of two with one name by code or number (contract amocrm 15.20)."""
    async with account(monkeypatch, tmp_path) as (_, source):
        fields = (await source.survey()).fields
    names = [item.names[0].casefold() for item in fields]
    assert {item.setting for item in fields if names.count(item.names[0].casefold()) > 1} == {
        *("YCLID", "GCLID", "774302", "774303"),
    }
    assert {item.setting for item in fields} >= {"ClientID", "_ym_uid", "Страница заявки"}


async def test_what_the_source_reads_without_a_setting_is_told_as_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Predefined codes and telling names; the bare "ClientID" has to be configured (contract amocrm 14.5)."""
    async with account(monkeypatch, tmp_path) as (_, source):
        known = {item.setting: item.known for item in (await source.survey()).fields}
    assert (known["YCLID"], known["774302"], known["_ym_uid"]) == (IdKind.YCLID, IdKind.YCLID, IdKind.CLIENT_ID)
    assert known["ClientID"] is None


async def test_a_survey_costs_four_requests_and_no_field_of_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Field lists, the newest page of leads and that of contacts; phones are not even counted."""
    async with account(monkeypatch, tmp_path) as (sim, source):
        for event in happenings(business(300)):
            sim.happen(event)
        survey = await source.survey()
        leads = sim.requests["GET /api/v4/leads"]
        asked = {name: count for name, count in sim.requests.items() if "account" not in name}
    assert leads == 1
    assert sum(asked.values()) == 2 + sim_pages()
    assert {item.sampled for item in survey.fields if item.place == "lead"} == {250}
    assert not FIELDS_OF_CONTACTS & {item.setting for item in survey.fields}
    assert survey.currency == "RUB"


def sim_pages() -> int:
    """The simulated account has 55 fields of leads, fifty a page, and three of contacts."""
    return 2 + 1
