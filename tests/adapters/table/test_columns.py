"""Titles as people and exports write them find their roles; what is not recognised is told, with what it looks like."""

from __future__ import annotations

import pytest

from adapters.table.columns import looks_like_a_date, nearest, normal_title, recognise
from adapters.table.settings import LOST, WON
from bridge.errors import Drift
from bridge.model import Outcome
from bridge.ports import Level
from tests.adapters.table.kit import ROOT, Office

# Contract tables E, as it stands there, and what new users were found to write beside it.
ALIASES = {
    "lead_id": (
        "id, ID сделки, ID лида, ID заявки, Номер, Номер сделки, Номер заказа, № заказа, №, deal_id, lead_id, "
        "order_id, № заявки, № сделки, Номер заявки, No заявки"
    ),
    "created_at": (
        "Дата, Дата создания, Дата заявки, Создано, Создан, Создана, created, created_at, create date, Дата обращения"
    ),
    "updated_at": "Дата изменения, Изменено, Обновлено, updated_at, modified, last modified",
    "status_at": (
        "Дата статуса, Дата смены статуса, Дата оплаты, Дата продажи, Дата закрытия, closed_at, paid_at, Дата этапа, "
        "Дата смены этапа, Дата стадии"
    ),
    "status": "Статус, Этап, Этап сделки, Стадия, Класс обращения, status, stage, dealstage, Статус заявки",
    "pipeline": "Воронка, pipeline, funnel",
    "amount": "Сумма, Бюджет, Выручка, Стоимость, Сумма сделки, Доход, Оплата, amount, revenue, price, value, budget",
    "cost": "Себестоимость, Расход, cost",
    "currency": "Валюта, currency",
    "reject_reason": "Причина отказа, Причина, loss_reason",
    "phone": "Телефон, Тел., Номер телефона, Мобильный, phone",
    "email": "Email, E-mail, Почта, Эл. почта, Электронная почта, mail",
    "name": "Имя, ФИО, Клиент, name",
    "ym_client_id": (
        "ClientID, Client ID, client_id, ClientID Метрики, Metrika ClientID, metrika_client_id, _ym_uid, ym_uid, "
        "yaClientId, Яндекс ClientID"
    ),
    "ga_client_id": "GA Client ID, ga_client_id, ua_client_id, _ga, google_client_id",
    "yclid": "yclid",
    "gclid": "gclid",
    "gbraid": "gbraid",
    "wbraid": "wbraid",
    "fbclid": "fbclid",
    "rb_clickid": "rb_clickid",
    "li_fat_id": "li_fat_id",
    "utm_source": "utm_source, Источник",
    "utm_medium": "utm_medium",
    "utm_campaign": "utm_campaign, Кампания",
    "utm_content": "utm_content",
    "utm_term": "utm_term",
    "landing_page": (
        "Посадочная страница, Страница входа, Адрес страницы, URL, landing, landing_page, Страница, Страница заявки"
    ),
    "call_id": "ID звонка, call_id, callId",
    "source_ref": "appeal_id, Callibri ID, requestId, Calltouch ID",
    "roistat": "roistat, roistat_visit, Номер визита",
    "manager": "Менеджер, Ответственный",
    "comment": "Комментарий, Примечание",
}
PAIRS = [(role, alias) for role, aliases in ALIASES.items() for alias in aliases.split(", ")]


def spellings(title: str) -> list[str]:
    """How the same title may stand in a file."""
    return [
        title,
        title.upper(),
        f"  {title.lower()}: ",
        title.replace(" ", "\u00a0"),
        title.replace(" ", "_"),
        f"{title} *",
    ]


@pytest.mark.parametrize(("role", "alias"), PAIRS, ids=[f"{role}: {alias}" for role, alias in PAIRS])
def test_every_alias_is_found_however_it_is_written(role: str, alias: str) -> None:
    """Case, spaces of any kind, underscores, colons and asterisks change nothing (contract tables E, F12)."""
    beside = "Дата" if role != "created_at" else "Статус"
    for spelling in spellings(alias):
        assert recognise(1, [beside, spelling], {}).roles[role] == spelling.strip()


def test_a_yo_is_an_e() -> None:
    """``ё`` is typed by few."""
    assert normal_title("Счёт ") == normal_title("счет")


@pytest.mark.parametrize(
    ("title", "is_date"),
    [
        ("Дата перехода на этап", True),
        ("Время смены статуса", True),
        ("changed_at", True),
        ("Deal date", True),
        ("Датчик", False),
        ("Статус", False),
        ("Категория", False),
    ],
)
def test_a_title_that_promises_dates_is_recognised_as_such(title: str, is_date: bool) -> None:
    """By whole words."""
    assert looks_like_a_date(title) is is_date


@pytest.mark.parametrize(
    ("title", "known", "role"),
    [
        ("Дата этапп", "Дата этапа", "status_at"),
        ("Сума", "Сумма", "amount"),
        ("Cтатус", "Статус", "status"),  # with a Latin C
        ("Телефон клиента", None, "phone"),
    ],
)
def test_the_nearest_known_title_is_named(title: str, known: str | None, role: str) -> None:
    """For misspellings and Latin letters that look Russian."""
    near = nearest(title)
    assert near is not None
    assert near.role == role
    assert known is None or near.title == known


def test_a_title_like_no_other_has_no_nearest() -> None:
    """Nothing is suggested that would only confuse."""
    assert nearest("Погода") is None


async def test_check_lists_what_is_not_recognised_with_what_it_looks_like(office: Office) -> None:
    """As a note where it does no harm, as a warning where it may hold the time of the stage."""
    office.write("id;Дата;Статус;Менеджр;Погода;Дата перевода\n1;02.03.2026;Новый;5;ясно;03.03.2026\n")
    (note,) = [text for text in await office.told(Level.OK) if "play no role" in text]
    assert '"Менеджр" (like "Менеджер", which is manager), "Погода"' in note
    warnings = await office.told(Level.WARNING)
    assert any('column "Дата перевода" looks like a date' in text for text in warnings)
    assert any("dated by created_at" in text for text in warnings)
    assert await office.told(Level.WARNING, columns={"status_at": "Дата перевода"}) == []
    named = {"columns": {"status_at": "Дата перевода"}, "fields": {"yclid": ["Менеджр", "Погода"]}}
    assert not any("play no role" in text for text in await office.told(Level.OK, **named))


async def test_a_date_beside_a_known_status_date_is_only_noted(office: Office) -> None:
    """A date of birth is nobody's business."""
    office.write("id;Дата;Статус;Дата статуса;Дата рождения\n1;02.03.2026;Новый;03.03.2026;x\n")
    assert await office.told(Level.WARNING) == []
    assert any('"Дата рождения"' in text for text in await office.told(Level.OK))


async def test_check_tells_what_the_statuses_mean(office: Office) -> None:
    """Which are sales and losses; where none is a sale, how to say so."""
    office.write("id;Дата;Статус;Дата статуса\n1;02.03.2026;Куплено;03.03.2026\n2;02.03.2026;Отказ;03.03.2026\n")
    (told,) = [text for text in await office.told(Level.OK) if "statuses" in text]
    assert 'won: none; lost: "Отказ"; open: "Куплено"; if one of them means a sale, set won' in told
    (told,) = [text for text in await office.told(Level.OK, won="Куплено") if "statuses" in text]
    assert told.endswith('won: "Куплено"; lost: "Отказ"; open: none')


@pytest.mark.parametrize(
    "status",
    [
        "Возврат",
        "возврат денег",
        "Возврат средств",
        "Возврат товара",
        "Возвращен",
        "Возвращён",
        "Возвращена",
        "Возвращено",
        "Отмена",
        "Отменён",
        "Отменена",
        "Отменено",
        "refund",
        "Refunded",
        "returned",
        "Canceled",
        "cancelled",
    ],
)
async def test_what_was_returned_or_cancelled_is_lost(office: Office, status: str) -> None:
    """A sale that was taken back must not keep its value; check says how each status is understood."""
    office.write(f"id;Дата;Статус;Дата статуса\n1;02.03.2026;{status};03.03.2026\n")
    assert (await office.one()).outcome is Outcome.LOST
    assert any(f'lost: "{status}"; open: none' in text for text in await office.told(Level.OK))


@pytest.mark.parametrize("status", ["Частичный возврат", "Запрошен возврат", "Возврат отклонён", "partially refunded"])
async def test_what_is_not_certainly_taken_back_is_not_lost(office: Office, status: str) -> None:
    """Statuses are whole names: part of a sale may stand, and a request may be declined."""
    office.write(f"id;Дата;Статус;Дата статуса\n1;02.03.2026;{status};03.03.2026\n")
    assert (await office.one()).outcome is Outcome.OPEN


def test_the_readme_names_every_status_that_ends_a_deal() -> None:
    """Nobody looks for them in the code."""
    told = (ROOT / "adapters/table/README.md").read_text(encoding="utf-8")
    assert [word for word in (*WON, *LOST) if f'"{word}"' not in told and f"`{word}`" not in told] == []


async def test_rounded_identifiers_of_a_csv_file_are_told(office: Office) -> None:
    """A spreadsheet that saved CSV filled in noughts; one such number may be chance, a column of them is none."""
    head = "id;Дата;Статус;Дата статуса;ClientID\n"
    rows = "".join(f"{n};02.03.2026;Новый;03.03.2026;17726900001234{n}0000\n" for n in range(1, 5))
    office.write(head + rows)
    (told,) = await office.told(Level.WARNING)
    assert 'column "ClientID" ends in noughts' in told
    office.write(head + rows + "9;02.03.2026;Новый;03.03.2026;1772690000123456789\n")
    assert await office.told(Level.WARNING) == []


async def test_a_goal_may_ask_for_no(office: Office) -> None:
    """A column of the table's own keeps what stands there, also "нет"."""
    office.write("id;Дата;Целевой;Сумма\n1;02.03.2026;нет;нет\n")
    deal = await office.one()
    assert (deal.fields["Целевой"], deal.value, "Сумма" in deal.fields) == (("нет",), None, False)


def test_a_header_without_a_date_names_what_is_there() -> None:
    """Which it is, the operator knows."""
    with pytest.raises(Drift, match='"Статус"'):
        recognise(1, ["id", "Статус"], {})


@pytest.mark.parametrize(
    ("title", "role"),
    [
        ("Client ID метрики", "ym_client_id"),
        ("Яндекс Client ID", "ym_client_id"),
        ("yc lid", "yclid"),
        ("Е-mail", None),
    ],
)
def test_spaces_inside_words_change_no_title(title: str, role: str | None) -> None:
    """People part "ClientID" as they like; a letter of another alphabet is another title all the same."""
    roles = recognise(1, ["Дата", title], {}).roles
    assert {name for name, found in roles.items() if found == title} == ({role} if role else set())


@pytest.mark.parametrize(
    ("title", "value", "kind"),
    [
        ("Метка клика", "177511012345678901{}", "yclid"),
        ("Номер счётчика", "17751101234567890{}", "client_id"),
        ("ycllid", "177511012345678901{}", "yclid"),
        ("ycllid", "", "yclid"),
    ],
)
async def test_a_column_that_looks_like_an_identifier_is_a_warning(
    office: Office, title: str, value: str, kind: str
) -> None:
    """By values or by title: what is not recognised matches no click. The advice settles it."""
    rows = "".join(f"{n};02.03.2026;Новый;03.03.2026;{value.format(n)}\n" for n in range(10, 16))
    office.write(f"id;Дата;Статус;Дата статуса;{title}\n{rows}")
    (told,) = await office.told(Level.WARNING)
    assert f'column "{title}" looks like an identifier and is not recognised' in told
    assert "= [" in told
    assert await office.told(Level.WARNING, fields={kind: [title]}) == []


async def test_a_title_near_an_identifiers_over_other_values_is_no_warning(office: Office) -> None:
    """A column of names under "Client" is no ClientID."""
    office.write("id;Дата;Статус;Дата статуса;Client;user_id\n1;02.03.2026;Новый;03.03.2026;ООО Окна;17\n")
    assert await office.told(Level.WARNING) == []


async def test_a_row_without_an_id_beside_others_that_have_one_is_told(office: Office) -> None:
    """It is read all the same; in a table without such a column there is another warning."""
    office.write("id;Дата;Статус;Дата статуса\n1;02.03.2026;Новый;03.03.2026\n;04.03.2026;Новый;05.03.2026\n")
    (told,) = await office.told(Level.WARNING)
    assert 'rows without an id in column "id": 1 (row 3)' in told
    deals, bad = await office.read()
    assert (len(deals), bad) == (2, [])
