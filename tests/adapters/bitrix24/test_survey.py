"""The custom fields of a portal as ``bridge init`` is told of them."""

from __future__ import annotations

from pathlib import Path

from adapters.bitrix24.fake import CATEGORY_FIELD, FIELDS
from bridge.model import IdKind
from bridge.survey import Shape, guess, merged
from tests.adapters.bitrix24.kit import YCLID, add_deals, add_leads, running
from tests.adapters.bitrix24.test_processes import ITEM, add_items


async def test_leads_deals_and_items_are_sampled_newest_first(tmp_path: Path) -> None:
    """250 of each, in two requests; a field of all three is configured, and judged, as one."""
    async with running(tmp_path, processes=(1032,)) as rig:
        add_leads(rig.portal, 300, UF_CRM_YCLID=YCLID)
        add_deals(rig.portal, 3, UF_CRM_YCLID="undefined")
        add_items(rig, 2, UF_CRM_YCLID=YCLID)
        before = dict(rig.asked)
        fields = (await rig.source.survey()).fields
        asked = {name: count - before.get(name, 0) for name, count in rig.asked.items()}
    of = {item.place: item for item in fields if item.setting == "UF_CRM_YCLID"}
    counts = {place: (item.sampled, item.filled, item.fitting) for place, item in of.items()}
    assert counts == {"lead": (250, 250, 250), "deal": (3, 3, 0), ITEM: (2, 2, 2)}
    whole = next(item for item in merged(fields) if item.setting == "UF_CRM_YCLID")
    found = guess(whole)
    assert found is not None
    assert (found.kind, found.is_sure, whole.place) == (IdKind.YCLID, True, f"lead, deal, {ITEM}")
    assert asked == {"batch": 2 + 1}


async def test_choices_are_not_sampled_and_labels_are_told(tmp_path: Path) -> None:
    """An enumeration cannot hold an identifier; people know fields by their labels, the setting takes codes."""
    async with running(tmp_path) as rig:
        fields = (await rig.source.survey()).fields
    codes = {item.code for item in FIELDS} - {CATEGORY_FIELD}
    assert {item.setting for item in fields} == codes
    names = {item.setting: item.names for item in fields}
    assert [item.label for item in FIELDS if item.code in codes and item.label not in names[item.code]] == []


async def test_several_values_of_one_record_count_once(tmp_path: Path) -> None:
    """A multiple field is one field of one record."""
    async with running(tmp_path) as rig:
        add_leads(rig.portal, 1, UF_CRM_YCLID=[YCLID, "привет"])
        field = next(item for item in (await rig.source.survey()).fields if item.setting == "UF_CRM_YCLID")
    assert (field.filled, field.fitting) == (1, 1)
    assert dict(field.shapes) == {Shape.TIMED: 1, Shape.OTHER: 1}
