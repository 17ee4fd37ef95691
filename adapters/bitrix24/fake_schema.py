"""What a simulated portal is made of: fields with their types and empty values, directories, default stages.

Classic names and types: contract bitrix24 4.1, 4.2; stages: 5. Everything here is a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from bridge.frozen import frozen

LEAD, DEAL, CONTACT = "lead", "deal", "contact"

TYPE_IDS = {LEAD: 1, DEAL: 2, CONTACT: 3}
KINDS = {number: kind for kind, number in TYPE_IDS.items()}
ITEM = "item"  # a smart process is "item:" and its entityTypeId
INVOICE = f"{ITEM}:31"  # smart invoices are items with fields and directories of their own
MULTI = ("PHONE", "EMAIL", "WEB", "IM")

_PEOPLE = "CREATED_BY_ID MODIFY_BY_ID ASSIGNED_BY_ID"
_TEXTS = "COMMENTS ORIGINATOR_ID ORIGIN_ID SOURCE_DESCRIPTION UTM_SOURCE UTM_MEDIUM UTM_CAMPAIGN UTM_CONTENT UTM_TERM"
_NAMES = "TITLE NAME SECOND_NAME LAST_NAME COMPANY_TITLE POST"
# field type -> (names, empty value). A list shows an empty text as null, an empty time as "".
_COMMON: dict[str, tuple[str, Any]] = {
    "time": ("DATE_CREATE DATE_MODIFY", ""),
    "user": (_PEOPLE, "1"),
    "text": (_TEXTS, None),
    "id": ("ID COMPANY_ID", None),
    "crm_status": ("SOURCE_ID", None),
    "char": ("OPENED", "Y"),
}
_OWN: dict[str, tuple[tuple[str, str, Any], ...]] = {
    LEAD: (
        ("text", f"{_NAMES} STATUS_DESCRIPTION", None),
        ("stage", "STATUS_ID", "NEW"),
        ("char", "STATUS_SEMANTIC_ID", "P"),
        ("money", "OPPORTUNITY", "0.00"),
        ("text", "CURRENCY_ID", "RUB"),
        ("char", "IS_MANUAL_OPPORTUNITY IS_RETURN_CUSTOMER HAS_PHONE HAS_EMAIL HAS_IMOL", "N"),
        ("time", "DATE_CLOSED MOVED_TIME LAST_ACTIVITY_TIME", ""),
        ("user", "MOVED_BY_ID LAST_ACTIVITY_BY", "1"),
        ("id", "CONTACT_ID", None),
        ("date", "BIRTHDATE", ""),
    ),
    DEAL: (
        ("text", "TITLE ADDITIONAL_INFO LOCATION_ID PROBABILITY", None),
        ("stage", "STAGE_ID", "NEW"),
        ("char", "STAGE_SEMANTIC_ID", "P"),
        ("id", "CATEGORY_ID", "0"),
        ("id", "LEAD_ID QUOTE_ID CONTACT_ID", None),
        ("money", "OPPORTUNITY TAX_VALUE", "0.00"),
        ("text", "CURRENCY_ID", "RUB"),
        ("crm_status", "TYPE_ID", "SALE"),
        ("char", "CLOSED IS_NEW IS_RECURRING IS_RETURN_CUSTOMER IS_REPEATED_APPROACH IS_MANUAL_OPPORTUNITY", "N"),
        ("time", "MOVED_TIME LAST_ACTIVITY_TIME", ""),
        ("user", "MOVED_BY_ID LAST_ACTIVITY_BY", "1"),
        ("date", "BEGINDATE CLOSEDATE", ""),
    ),
    ITEM: (
        ("text", "TITLE", None),
        ("stage", "STAGE_ID", None),
        ("id", "CATEGORY_ID", "0"),
        ("id", "CONTACT_ID PARENT_ID_1 PARENT_ID_2", None),
        ("money", "OPPORTUNITY", "0.00"),
        ("text", "CURRENCY_ID", "RUB"),
        ("time", "MOVED_TIME LAST_ACTIVITY_TIME", ""),
        ("user", "MOVED_BY_ID LAST_ACTIVITY_BY", "1"),
        ("date", "BEGINDATE CLOSEDATE", ""),
    ),
    CONTACT: (
        ("text", "NAME SECOND_NAME LAST_NAME POST", None),
        ("crm_status", "TYPE_ID", "CLIENT"),
        ("char", "HAS_PHONE HAS_EMAIL HAS_IMOL", "N"),
        ("id", "LEAD_ID", None),
        ("date", "BIRTHDATE", ""),
    ),
}
# Names in crm.item.* that are not the camelCase of the classic one (contract 4.1, 4.2).
_ITEM_NAMES = {
    "DATE_CREATE": "createdTime",
    "DATE_MODIFY": "updatedTime",
    "DATE_CLOSED": "dateClosed",
    "STATUS_ID": "stageId",
    "STATUS_SEMANTIC_ID": "stageSemanticId",
    "CREATED_BY_ID": "createdBy",
    "MODIFY_BY_ID": "updatedBy",
    "MOVED_BY_ID": "movedBy",
}


@frozen
class CustomField:
    """A UF_CRM_* field. ``items`` are an enumeration's options by id."""

    code: str
    label: str
    type: str = "string"
    is_multiple: bool = False
    items: Mapping[str, str] = field(default_factory=dict)


@frozen
class Schema:
    """The fields of one entity: type and empty value by classic name, custom fields by code."""

    kind: str
    types: Mapping[str, str]
    empty: Mapping[str, Any]
    custom: Mapping[str, CustomField]

    @classmethod
    def of(cls, kind: str, custom: tuple[CustomField, ...] = ()) -> Schema:
        types: dict[str, str] = {}
        empty: dict[str, Any] = {}
        rows = [(type_, names, value) for type_, (names, value) in _COMMON.items()]
        for type_, names, value in (*rows, *_OWN[kind.partition(":")[0]]):
            types.update(dict.fromkeys(names.split(), type_))
            empty.update(dict.fromkeys(names.split(), value))
        types.update((item.code, _filter_type(item.type)) for item in custom)
        empty.update((item.code, [] if item.is_multiple else None) for item in custom)
        return cls(kind, types, empty, {item.code: item for item in custom})

    def selected(self, wanted: Any) -> tuple[str, ...]:
        """Names a ``select`` means: * standard, UF_* custom, unknown ones ignored; none given means both masks."""
        names: dict[str, None] = {}
        for name in wanted or ("*", "UF_*"):
            if name == "*":
                names.update(dict.fromkeys(key for key in self.types if key not in self.custom))
            elif name == "UF_*":
                names.update(dict.fromkeys(self.custom))
            elif name in self.types:
                names[name] = None
        return tuple(names)


def _filter_type(user_type: str) -> str:
    return {"datetime": "time", "integer": "id", "double": "money"}.get(user_type, "text")


def item_name(code: str, is_original: bool = False) -> str:
    """A field's name in ``crm.item.*`` (contract 3.3). ``is_original``: the flag useOriginalUfNames."""
    if code in _ITEM_NAMES:
        return _ITEM_NAMES[code]
    if not code.startswith("UF_"):
        return _camel(code)
    rest = code.removeprefix("UF_CRM_")
    if is_original or rest == code:
        return code
    return "ufCrm" + _camel(f"X_{rest}")[1:] if re.fullmatch(r"[A-Z_]+", rest) else f"ufCrm_{rest}"


def _camel(code: str) -> str:
    first, *rest = code.lower().split("_")
    return first + "".join(part.capitalize() for part in rest)


@frozen
class Status:
    """A row of a directory. ``semantics``: "" in progress, S success, F failure."""

    directory: str
    code: str
    name: str
    semantics: str = ""
    category: int | None = None

    def as_row(self, number: int, sort: int) -> dict[str, Any]:
        """As ``crm.status.list`` shows it (contract 5)."""
        extra = {"": "process", "S": "success", "F": "apology" if self.code.endswith("APOLOGY") else "failure"}
        return {
            "ID": str(number),
            "ENTITY_ID": self.directory,
            "STATUS_ID": self.code,
            "NAME": self.name,
            "NAME_INIT": self.name,
            "SORT": str(sort),
            "SYSTEM": "N" if "UC_" in self.code else "Y",
            "CATEGORY_ID": None if self.category is None else str(self.category),
            "COLOR": "#39A8EF",
            "SEMANTICS": self.semantics or None,
            "EXTRA": {"SEMANTICS": extra.get(self.semantics, "process"), "COLOR": "#39A8EF"},
        }


_LEAD_STAGES = (
    ("NEW", "Новая заявка", ""),
    ("IN_PROCESS", "Первичный контакт", ""),
    ("PROCESSED", "Обработан", ""),
    ("CONVERTED", "Качественный лид", "S"),
    ("JUNK", "Некачественный лид", "F"),
)
_DEAL_STAGES = (
    ("NEW", "Новая", ""),
    ("PREPARATION", "Подготовка документов", ""),
    ("PREPAYMENT_INVOICE", "Счёт на предоплату", ""),
    ("EXECUTING", "В работе", ""),
    ("FINAL_INVOICE", "Финальный счёт", ""),
    ("WON", "Сделка успешна", "S"),
    ("LOSE", "Сделка провалена", "F"),
    ("APOLOGY", "Анализ причины провала", "F"),
)
_SALES_STAGES = (
    ("NEW", "Новая заявка", ""),
    ("PREPARATION", "Первичный контакт", ""),
    ("UC_7QV3KD", "Квалифицирован", ""),
    ("EXECUTING", "Встреча назначена", ""),
    ("WON", "Успешно реализовано", "S"),
    ("LOSE", "Закрыто и не реализовано", "F"),
)
_PROCESS_STAGES = (
    ("NEW", "Начало", ""),
    ("PREPARATION", "Замер", ""),
    ("CLIENT", "Монтаж идёт", ""),
    ("SUCCESS", "Сдан", "S"),
    ("FAIL", "Отказ", "F"),
)
_SOURCES = "CALL:Звонок WEB:Веб-сайт ADVERTISING:Реклама WEBFORM:CRM-форма CALLBACK:Обратный-звонок OTHER:Другое"
CATEGORIES = {0: "Общая", 1: "Продажи", 10: "Опт"}
_CODE_MAX = 21  # a stage's code is cut (contract 5)


PROCESS_CATEGORIES = {5: "Монтаж", 7: "Сервис"}
INVOICE_CATEGORIES = {1: "Общая"}
_INVOICE_STAGES = (
    ("N", "Новый", ""),
    ("S", "Отправлен клиенту", ""),
    ("P", "Оплачен", "S"),
    ("D", "Не оплачен", "F"),
)


def stage_directory(kind: str, category: int) -> str:
    """Where a pipeline's stages stand; leads have one, and the default pipeline of deals has no number."""
    if kind == LEAD:
        return "STATUS"
    if kind == INVOICE:
        return f"SMART_INVOICE_STAGE_{category}"
    if kind == DEAL:
        return f"DEAL_STAGE_{category}" if category else "DEAL_STAGE"
    return f"DYNAMIC_{kind.partition(':')[2]}_STAGE_{category}"


def process_statuses(type_id: int) -> list[Status]:
    """Stages of a smart process, or of smart invoices. No code of theirs is cut."""
    kind = f"{ITEM}:{type_id}"
    categories = INVOICE_CATEGORIES if kind == INVOICE else PROCESS_CATEGORIES
    stages = _INVOICE_STAGES if kind == INVOICE else _PROCESS_STAGES
    return [
        Status(stage_directory(kind, category), f"DT{type_id}_{category}:{code}", name, ends, category)
        for category in categories
        for code, name, ends in stages
    ]


def stage_code(category: int, code: str) -> str:
    return f"C{category}:{code}"[:_CODE_MAX] if category else code


def default_statuses(loss_reasons: tuple[str, ...]) -> list[Status]:
    """All directories; leads and the pipeline "Продажи" get a failure stage per loss reason."""
    failures = [(f"UC_LOSS{index}", name, "F") for index, name in enumerate(loss_reasons, start=1)]
    statuses = [Status("STATUS", code, name, semantics) for code, name, semantics in (*_LEAD_STAGES, *failures)]
    for category, stages in ((0, _DEAL_STAGES), (1, (*_SALES_STAGES, *failures)), (10, _DEAL_STAGES)):
        directory = stage_directory(DEAL, category)
        statuses += [Status(directory, stage_code(category, c), name, s, category) for c, name, s in stages]
    statuses += [Status("SOURCE", code, name) for code, _, name in (pair.partition(":") for pair in _SOURCES.split())]
    return [*statuses, Status("DEAL_TYPE", "SALE", "Продажа"), Status("CONTACT_TYPE", "CLIENT", "Клиенты")]
