"""Which column means what, from the titles people give (contract tables E). Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from unicodedata import normalize

from adapters.table.settings import Column
from bridge.errors import Drift

_ALIASES = {
    "lead_id": (
        "id, ID сделки, ID лида, ID заявки, Номер, Номер сделки, Номер заказа, № заказа, №, deal_id, lead_id, order_id"
    ),
    "created_at": "Дата, Дата создания, Дата заявки, Создано, Создан, created, created_at, create date",
    "updated_at": "Дата изменения, Изменено, Обновлено, updated_at, modified, last modified",
    "status_at": (
        "Дата статуса, Дата смены статуса, Дата оплаты, Дата продажи, Дата закрытия, status_at, closed_at, paid_at"
    ),
    "status": "Статус, Этап, Этап сделки, Стадия, Класс обращения, status, stage, dealstage",
    "pipeline": "Воронка, pipeline, funnel",
    "amount": "Сумма, Бюджет, Выручка, Стоимость, Сумма сделки, Доход, Оплата, amount, revenue, price, value, budget",
    "cost": "Себестоимость, Расход, cost",
    "currency": "Валюта, currency",
    "reject_reason": "Причина отказа, Причина, loss_reason",
    "phone": "Телефон, Тел., Номер телефона, Мобильный, phone",
    "email": "Email, E-mail, Почта, Эл. почта, Электронная почта, mail",
    "name": "Имя, ФИО, Клиент, name",
    "ym_client_id": (
        "ClientID, Client ID, client_id, ClientID Метрики, Metrika ClientID, metrika_client_id, _ym_uid, yaClientId, "
        "Яндекс ClientID"
    ),
    "ga_client_id": "GA Client ID, ga_client_id, ua_client_id, _ga, google_client_id",
    "utm_campaign": "utm_campaign, Кампания",
    "landing_page": "Посадочная страница, Страница входа, Адрес страницы, URL, landing, landing_page",
    "call_id": "ID звонка, call_id, callId",
    "roistat": "roistat, roistat_visit, Номер визита",
    "source_ref": "appeal_id, Callibri ID, requestId, Calltouch ID",
    "manager": "Менеджер, Ответственный",
    "comment": "Комментарий, Примечание",
}
_SAME = ("yclid", "gclid", "gbraid", "wbraid", "fbclid", "rb_clickid", "li_fat_id")
_SAME_UTM = ("utm_source", "utm_medium", "utm_content", "utm_term")
_SOURCE_TITLE = "источник"  # the ad source, unless utm_source has a column of its own
_SEPARATORS = re.compile(r"[\s_\-]+")
_CELL = re.compile(r"@|\d(?:\D{0,3}\d){5}")  # an e-mail address, a phone number, a date: no title of a column
_DATES = ("created_at", "status_at", "updated_at")


def normal_title(title: str) -> str:
    """A title for comparison: NFKC, case folded, ё as е; ``_``, ``-`` and space equal; no trailing ``:`` or ``*``."""
    folded = normalize("NFKC", title).casefold().replace("ё", "е")
    return _SEPARATORS.sub(" ", folded).rstrip(" :*").strip()


_ROLE_OF = {
    **{normal_title(alias): role for role, aliases in _ALIASES.items() for alias in aliases.split(", ")},
    **{normal_title(name): name for name in (*_SAME, *_SAME_UTM)},
}


@dataclass(frozen=True, slots=True)
class Header:
    """A table's titles, in order, and which of them plays which role. ``row`` is the header's own number."""

    row: int
    titles: tuple[str, ...]
    roles: Mapping[str, str]  # role -> title
    origin: str | None  # title of the column that names the source of a lead

    def cells(self, texts: Sequence[str]) -> dict[str, str]:
        """Titles and texts put together; a short row simply lacks its last cells."""
        return dict(zip(self.titles, texts, strict=False))

    @property
    def own(self) -> tuple[str, ...]:
        """Titles of columns that play no role."""
        known = set(self.roles.values())
        return tuple(title for title in self.titles if title not in known)


def recognise(row: int, texts: Sequence[str], wanted: Mapping[Column, str]) -> Header:
    """A header from its titles; ``wanted`` (role -> title) goes before the aliases.

    Raises:
        Drift: titles repeat, two columns claim one role, a wanted title is missing, or there is no date.
    """
    titles = tuple(text.strip() or f"column {index}" for index, text in enumerate(texts, start=1))
    by_normal = {normal_title(title): title for title in titles}
    repeated = [name for name, count in Counter(map(normal_title, titles)).items() if count > 1]
    if repeated:
        raise Drift(f"row {row}: columns {_listed(repeated)} appear more than once; rename or remove the extra ones")
    missing = [title for title in wanted.values() if normal_title(title) not in by_normal]
    if missing:
        raise Drift(
            f"row {row}: no column {_listed(missing)}, which the setting columns names; found: {_listed(titles)}"
        )
    roles: dict[str, str] = {role: by_normal[normal_title(title)] for role, title in wanted.items()}
    roles |= _by_alias([title for title in titles if title not in roles.values()], roles, row)
    origin = by_normal.get(_SOURCE_TITLE)
    if origin is not None and origin not in roles.values():
        roles.setdefault("utm_source", origin)
    if not any(role in roles for role in _DATES):
        if any(map(_CELL.search, titles)):  # a lead's own data are not repeated in a message
            raise Drift(f"row {row} holds data, no titles; add a row of titles, or say where it is with header_row")
        raise Drift(f"row {row}: no column with a date is recognised; name one in columns; found: {_listed(titles)}")
    return Header(row, titles, roles, origin)


def _by_alias(titles: Sequence[str], taken: Mapping[str, str], row: int) -> dict[str, str]:
    claims: dict[str, list[str]] = {}
    for title in titles:
        role = _ROLE_OF.get(normal_title(title))
        if role is not None and role not in taken:
            claims.setdefault(role, []).append(title)
    for role, claimants in claims.items():
        if len(claimants) > 1:
            choice = f'columns = {{ {role} = "{claimants[0]}" }}'
            raise Drift(f"row {row}: columns {_listed(claimants)} all look like {role}; choose one: {choice}")
    return {role: claimants[0] for role, claimants in claims.items()}


def _listed(titles: Sequence[str]) -> str:
    return ", ".join(f'"{title}"' for title in titles)
