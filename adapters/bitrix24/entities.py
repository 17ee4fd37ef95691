"""What can be read of a portal: leads and deals by classic lists, smart processes by the universal one. Pure.

What they differ in on the wire stands here, so that one code path reads them all (contract bitrix24 0, 3.1).
"""

from __future__ import annotations

from typing import Any

from bridge.frozen import replace
from bridge.model import DealKind, frozen

LEADS = "leads"  # the one pipeline of leads, which the CRM itself has no id for
ITEM_LIST = "crm.item.list"
_INVOICES = 31  # entityTypeId of smart invoices (contract 0)
PROCESS_MIN = 128  # entityTypeId of the first smart process (contract 0)


@frozen
class Entity:
    """One kind of record. ``name`` is what the operator writes, ``prefix`` what the keys of its records begin with.

    ``list_method``, ``id_field`` and ``time_field`` are how its lists are asked. ``stages`` stands before a pipeline's
    number in the name of its directory of stages, ``numbers`` in our id of it (None: there is one pipeline only).
    """

    name: str
    kind: DealKind
    type_id: int
    prefix: str
    list_method: str
    fields_method: str
    id_field: str = "ID"
    time_field: str = "DATE_MODIFY"
    stages: str = ""
    numbers: str | None = ""

    @property
    def is_item(self) -> bool:
        """Whether it is listed by the universal method: camelCase names, typed values."""
        return self.list_method == ITEM_LIST

    @property
    def params(self) -> dict[str, Any]:
        """What belongs to each of its calls: custom fields keep their upper-case names (contract 3.3)."""
        return {"entityTypeId": self.type_id, "useOriginalUfNames": "Y"} if self.is_item else {}

    @property
    def owner_code(self) -> str:
        """The short code that product rows know it by: "D", "L", "T408" (contract 0, 4.4)."""
        return {LEAD.type_id: "L", DEAL.type_id: "D"}.get(self.type_id, f"T{self.type_id:x}")

    @property
    def title(self) -> str:
        """For messages: "leads", "deals", "item:1032"."""
        return self.name if self.is_item else f"{self.name}s"

    def key(self, number: int | str) -> str:
        """The key of its record with this id."""
        return f"{self.prefix}{number}"

    def pipeline(self, category: object) -> str:
        """Our id of a pipeline. That of a smart process is told from a deals' pipeline of the same number."""
        return LEADS if self.numbers is None else f"{self.numbers}{category or 0}"

    def stage_directory(self, category: int) -> str:
        """Name of a pipeline's directory of stages; the default pipeline of deals has no number (contract 5)."""
        return f"{self.stages}_{category}" if category or self.is_item else self.stages


LEAD = Entity("lead", DealKind.LEAD, 1, "lead:", "crm.lead.list", "crm.lead.fields", stages="STATUS", numbers=None)
DEAL = Entity("deal", DealKind.DEAL, 2, "deal:", "crm.deal.list", "crm.deal.fields", stages="DEAL_STAGE")


def process(type_id: int) -> Entity:
    """A smart process by its entityTypeId."""
    return Entity(
        f"item:{type_id}",
        DealKind.ITEM,
        type_id,
        f"item:{type_id}-",
        ITEM_LIST,
        "crm.item.fields",
        id_field="id",
        time_field="updatedTime",
        stages=f"DYNAMIC_{type_id}_STAGE",
        numbers=f"{type_id}-",
    )


INVOICE = replace(
    process(_INVOICES),
    name="invoice",
    prefix="invoice:",
    stages="SMART_INVOICE_STAGE",
)


def named(name: str) -> Entity:
    """The entity an operator means.

    Raises:
        ValueError: there is no such entity.
    """
    for entity in (LEAD, DEAL):
        if entity.name == name:
            return entity
    word, _, number = name.partition(":")
    if word != "item" or not (number.isascii() and number.isdigit() and int(number) >= PROCESS_MIN):
        raise ValueError(f'"{name}" is none of "lead", "deal", "item:1032" (a smart process by its entityTypeId)')
    return process(int(number))


def prefix_of(key: str) -> str:
    """The prefix of a key: ``lead:`` of ``lead:5``, ``item:1032-`` of ``item:1032-15``."""
    end = key.find("-") if key.startswith("item:") else key.find(":")
    return key[: end + 1]


def id_of(key: str) -> str:
    """The record's own id in a key."""
    return key[len(prefix_of(key)) :]
