"""What ``bridge init`` is told of an account: which properties could hold an identifier, in counts alone."""

from __future__ import annotations

from pathlib import Path

from adapters.hubspot.fake_schema import CONTACTS, Property
from bridge.model import IdKind
from bridge.survey import guess, merged
from tests.adapters.hubspot.kit import GCLID, HOUR, MINUTE, YCLID, running
from tests.support import START


async def test_own_properties_and_the_vendors_click_ids_are_sampled(tmp_path: Path) -> None:
    """Of contacts and deals; choices and the vendor's other properties (phones, e-mails) are not even asked for."""
    async with running(tmp_path) as rig:
        known = rig.portal.data.properties[CONTACTS]
        known["site_visitor"] = Property("site_visitor", "Посетитель сайта", is_own=True)
        for number in range(5):
            at = START + number * MINUTE
            rig.contact(at, yclid=YCLID, site_visitor=f"174108240012345678{number}", phone="+79990000001")
        rig.contact(START + HOUR, hs_google_click_id=GCLID)
        rig.deal(START + HOUR, yclid="undefined")
        fields = (await rig.source.survey()).fields
        assert {"phone", "email", "object_kind", "lifecyclestage"}.isdisjoint(one.setting for one in fields)
        found = {one.setting: guess(one) for one in merged(fields)}
        assert {name: (it.kind, it.is_sure) for name, it in found.items() if it is not None} == {
            "yclid": (IdKind.YCLID, True),
            "gclid": (IdKind.GCLID, True),
            "ym_client_id": (IdKind.CLIENT_ID, True),
            "site_visitor": (IdKind.CLIENT_ID, False),
            "hs_google_click_id": (IdKind.GCLID, True),
            "hs_facebook_click_id": (IdKind.FBCLID, True),
        }
        (places,) = [one for one in merged(fields) if one.setting == "yclid"]
        assert (places.place, places.filled, places.fitting) == ("contact, deal", 6, 5)


async def test_contacts_are_sampled_where_only_deals_are_read(tmp_path: Path) -> None:
    """Deals have their clicks from them; two searches, nothing else but the names."""
    async with running(tmp_path) as rig:
        rig.contact(yclid=YCLID)
        source = rig.another(entities=["deal"])
        fields = (await source.survey()).fields
        assert {one.place for one in fields} == {"contact", "deal"}
        assert sum(count for name, count in rig.portal.requests.items() if name.endswith("/search")) == 2
