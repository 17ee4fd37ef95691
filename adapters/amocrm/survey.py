"""What an amoCRM account's custom fields are, and what the latest leads and contacts hold in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from adapters.amocrm import api, wire
from adapters.amocrm.api import Api
from adapters.amocrm.mapping import Lexicon, texts_of
from adapters.amocrm.wire import CustomField, FieldInfo
from bridge.errors import RecordInvalid
from bridge.model import IdKind
from bridge.survey import SAMPLE, FieldSample, Sampler

_NEWEST = (("order[updated_at]", "desc"),)
_PERSONAL = ("PHONE", "EMAIL", "POSITION", "IM")  # predefined fields of a contact that are never identifiers


async def survey(client: Api) -> tuple[FieldSample, ...]:
    """Fields of leads, then of contacts, with what their latest ones hold.

    Raises:
        AuthError, Throttled, Unavailable, Refused, Drift: the account's answer.
    """
    leads, contacts = await client.everything(api.LEAD_FIELDS), await client.everything(api.CONTACT_FIELDS)
    counts = Counter(item.name.casefold() for item in (*leads, *contacts))
    latest = await client.page(api.LEADS, _NEWEST)
    people = await client.page(api.CONTACTS, _NEWEST)
    of_leads = [_fields(lead) for lead in (latest.items if latest else ())[:SAMPLE]]
    of_people = [contact.custom_fields_values or () for contact in (people.items if people else ())[:SAMPLE]]
    named = [item for item in contacts if item.code not in _PERSONAL]
    return (*_samples(leads, of_leads, "lead", counts), *_samples(named, of_people, "contact", counts))


def _fields(lead: wire.Lead) -> Sequence[CustomField]:
    """The lead's custom fields; none where they cannot be read, which is the poll's business."""
    try:
        return wire.details_of(lead).custom_fields or ()
    except RecordInvalid:
        return ()


def _samples(
    infos: Iterable[FieldInfo], records: Sequence[Sequence[CustomField]], place: str, counts: Counter[str]
) -> list[FieldSample]:
    samplers = {item.id: _sampler(item, place, counts) for item in infos}
    for record in records:
        for field in record:
            if field.field_id in samplers:
                samplers[field.field_id].add(texts_of(field))
    return [sampler.sample(len(records)) for sampler in samplers.values()]


def _sampler(item: FieldInfo, place: str, counts: Counter[str]) -> Sampler:
    """A name that two fields share names both of them in the configuration, so then the id is given."""
    setting = item.name if counts[item.name.casefold()] == 1 else item.code or str(item.id)
    return Sampler(setting, (item.name, item.code or ""), place, _known(item))


def _known(item: FieldInfo) -> IdKind | None:
    """What the source takes the field for without any setting."""
    role = Lexicon({}).role(CustomField(item.id, item.name, item.code))
    return role.kinds[0][1] if role.kinds else None
