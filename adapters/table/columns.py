"""Which column means what, from the titles people give (contract tables E). Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from difflib import get_close_matches
from unicodedata import normalize

from adapters.table.settings import Column
from bridge.errors import Drift
from bridge.frozen import frozen

_ALIASES = {
    "lead_id": (
        "id, ID сделки, ID лида, ID заявки, ID заказа, ID обращения, Номер, Номер сделки, Номер заказа, Номер заявки, "
        "Номер лида, Номер обращения, №, № заказа, № заявки, № сделки, № лида, № обращения, deal_id, lead_id, "
        "order_id, lead number, order number"
    ),
    "created_at": (
        "Дата, Дата создания, Дата заявки, Дата обращения, Дата лида, Дата поступления, Дата и время, "
        "Дата и время создания, Создано, Создан, Создана, Добавлено, Добавлен, Добавлена, date, created, created_at, "
        "create date, created date, creation date, date created"
    ),
    "updated_at": "Дата изменения, Изменено, Изменен, Изменена, Обновлено, Обновлен, Обновлена, updated_at, modified, "
    "last modified",
    "status_at": (
        "Дата статуса, Дата смены статуса, Дата изменения статуса, Дата этапа, Дата смены этапа, Дата изменения этапа, "
        "Дата стадии, Дата смены стадии, Дата перехода, Дата оплаты, Дата продажи, Дата закрытия, status_at, "
        "closed_at, paid_at, stage_at, stage date, status date, close date"
    ),
    "status": "Статус, Статус заявки, Статус сделки, Статус лида, Этап, Этап сделки, Этап воронки, Стадия, "
    "Стадия сделки, Класс обращения, status, stage, dealstage, lead status, deal stage",
    "pipeline": "Воронка, pipeline, funnel",
    "amount": "Сумма, Бюджет, Выручка, Стоимость, Сумма сделки, Доход, Оплата, amount, revenue, price, value, budget",
    "cost": "Себестоимость, Расход, cost",
    "currency": "Валюта, currency",
    "reject_reason": "Причина отказа, Причина, loss_reason, reject_reason",
    "phone": "Телефон, Тел., Номер телефона, Мобильный, phone",
    "email": "Email, E-mail, Почта, Эл. почта, Электронная почта, mail",
    "name": "Имя, ФИО, Клиент, name",
    "ym_client_id": (
        "ClientID, Client ID, client_id, ClientID Метрики, Metrika ClientID, metrika_client_id, _ym_uid, yaClientId, "
        "Яндекс ClientID, ym_client_id"
    ),
    "ga_client_id": "GA Client ID, ga_client_id, ua_client_id, _ga, google_client_id",
    "utm_campaign": "utm_campaign, Кампания",
    "landing_page": (
        "Посадочная страница, Посадочная, Страница, Страница входа, Страница заявки, Страница сайта, Адрес страницы, "
        "Ссылка на страницу, URL, URL страницы, landing, landing_page, page, page url"
    ),
    "call_id": "ID звонка, call_id, callId",
    "roistat": "roistat, roistat_visit, Номер визита",
    "source_ref": "appeal_id, Callibri ID, requestId, Calltouch ID, source_ref",
    "manager": "Менеджер, Ответственный, manager",
    "comment": "Комментарий, Примечание, comment",
}
_SAME = ("yclid", "gclid", "gbraid", "wbraid", "fbclid", "rb_clickid", "li_fat_id")
_SAME_UTM = ("utm_source", "utm_medium", "utm_content", "utm_term")
_SOURCE_TITLE = "источник"  # the ad source, unless utm_source has a column of its own
_SEPARATORS = re.compile(r"[\s_\-]+")
_CELL = re.compile(r"@|\d(?:\D{0,3}\d){5}")  # an e-mail address, a phone number, a date: no title of a column
DATES = ("created_at", "status_at", "updated_at")
_LIKE_A_DATE = re.compile(r"\b(?:дат[аы]|время|date|time|at)\b")
_NEAREST = 0.6  # how much alike two titles are, at least (0..1)
_MONEY = ("amount", "cost")
_WITH_UNIT = re.compile(r"(.*[^ ,]) ?(?:, ?([^,()\[\]]+)|\(([^()]+)\)|\[([^\[\]]+)\])")
_CODES = ("RUB", "USD", "EUR", "KZT", "BYN", "UAH", "UZS", "KGS", "AMD", "AZN", "GEL", "CNY", "AED", "TRY", "GBP")
_UNITS = {
    **{code.casefold(): code for code in _CODES},
    **dict.fromkeys(("₽", "р", "руб", "рубли", "рублей", "рублях", "rur", "rubles", "roubles"), "RUB"),
    **dict.fromkeys(("$", "долл", "доллары", "долларов", "долларах"), "USD"),
    **dict.fromkeys(("€", "евро", "euro"), "EUR"),
}
_LIKE_AN_AMOUNT = re.compile(r"\b(?:сумм[аы]|бюджет|выручка|стоимость|доход|цена|чек|amount|revenue|price|budget)\b")
_MUCH_LIKE = 0.8  # "Сума" is, and "Оплачено" (yes or no) is not like "Оплата"
_MULTIPLE = re.compile(r"\b(?:тыс|тысяч\w*|млн|миллион\w*|млрд|k|thousands?|mln|millions?)\b")


def normal_title(title: str) -> str:
    """A title for comparison: NFKC, case folded, ё as е; ``_``, ``-`` and space equal; no trailing ``:`` or ``*``."""
    folded = normalize("NFKC", title).casefold().replace("ё", "е")
    return _SEPARATORS.sub(" ", folded).rstrip(" :*").strip()


def joined_title(title: str) -> str:
    """The same without any space: people part words and join them as they like ("Client ID метрики")."""
    return normal_title(title).replace(" ", "")


_ROLE_OF = {
    **{normal_title(alias): role for role, aliases in _ALIASES.items() for alias in aliases.split(", ")},
    **{normal_title(name): name for name in (*_SAME, *_SAME_UTM)},
}


_ROLE_OF_JOINED = {joined_title(title): role for title, role in _ROLE_OF.items()}


# Titles as they are shown, by how they are compared.
_SHOWN = {
    **{normal_title(alias): alias for aliases in _ALIASES.values() for alias in aliases.split(", ")},
    **{normal_title(name): name for name in (*_SAME, *_SAME_UTM)},
}


@frozen
class Near:
    """A known title that one looks like, and the role it would have."""

    title: str
    role: str


def nearest(title: str) -> Near | None:
    """The known title most like this one, if any is like it at all."""
    found = get_close_matches(normal_title(title), _ROLE_OF, n=1, cutoff=_NEAREST)
    return Near(_SHOWN[found[0]], _ROLE_OF[found[0]]) if found else None


def looks_like_a_date(title: str) -> bool:
    """Whether a column's title promises dates."""
    return _LIKE_A_DATE.search(normal_title(title)) is not None


def near_amount(title: str) -> str | None:
    """The amount's known title that is most like this one, where it looks like an amount at all."""
    if looks_like_a_date(title):
        return None
    bare, unit = without_unit(title)
    is_alike = unit or _LIKE_AN_AMOUNT.search(normal_title(title))
    known = {normal_title(alias): alias for alias in _ALIASES["amount"].split(", ")}
    found = get_close_matches(bare, known, n=1, cutoff=_NEAREST if is_alike else _MUCH_LIKE)
    if is_alike and not found:
        return "amount" if bare.isascii() else "Сумма"
    return known[found[0]] if found else None


def is_multiple(title: str) -> bool:
    """Whether a title says that its numbers are thousands or millions."""
    return _MULTIPLE.search(normal_title(title)) is not None


def without_unit(title: str) -> tuple[str, str]:
    """A (normal) title without the currency that stands behind a comma or in brackets, and that currency's code."""
    found = _WITH_UNIT.fullmatch(normal_title(title))
    unit = (found[2] or found[3] or found[4]).strip(" .").removeprefix("в ") if found else ""
    return (normal_title(found[1]), _UNITS[unit]) if found and unit in _UNITS else (normal_title(title), "")


@frozen
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
    def currency(self) -> str:
        """What the amount's title says of its currency; "" if it says nothing."""
        return without_unit(self.roles.get("amount", ""))[1]

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
    if not any(role in roles for role in DATES):
        if any(map(_CELL.search, titles)):  # a lead's own data are not repeated in a message
            raise Drift(f"row {row} holds data, no titles; add a row of titles, or say where it is with header_row")
        raise Drift(f"row {row}: no column with a date is recognised; name one in columns; found: {_listed(titles)}")
    return Header(row, titles, roles, origin)


def _by_alias(titles: Sequence[str], taken: Mapping[str, str], row: int) -> dict[str, str]:
    claims: dict[str, list[str]] = {}
    for title in titles:
        role = _ROLE_OF_JOINED.get(joined_title(title))
        if role is not None and role not in taken:
            claims.setdefault(role, []).append(title)
    for role, claimants in claims.items():
        if len(claimants) > 1:
            choice = f'columns = {{ {role} = "{claimants[0]}" }}'
            raise Drift(f"row {row}: columns {_listed(claimants)} all look like {role}; choose one: {choice}")
    return {role: claimants[0] for role, claimants in claims.items()} | _by_unit(titles, {*taken, *claims})


def _by_unit(titles: Sequence[str], taken: Set[str]) -> dict[str, str]:
    """Titles that a currency's unit parts from a known one ("Сумма, руб.").

    Two for one role leave it open, where two aliases stop the reading: a table with such titles was always read.
    """
    claims: dict[str, list[str]] = {}
    for title in titles:
        bare, unit = without_unit(title)
        role = _ROLE_OF_JOINED.get(joined_title(bare)) if unit else None
        if role in _MONEY and role not in taken:
            claims.setdefault(role, []).append(title)
    return {role: claimants[0] for role, claimants in claims.items() if len(claimants) == 1}


def _listed(titles: Sequence[str]) -> str:
    return ", ".join(f'"{title}"' for title in titles)
