"""The simulator takes, refuses, applies and links CRM orders as the contract (yandex 4) says."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from adapters.yandex_metrica.fake import Metrica
from adapters.yandex_metrica.fake_limits import DeniedError
from adapters.yandex_metrica.mapping import file_of
from bridge.sim.clock import ManualClock
from tests.adapters.yandex_metrica.helpers import CLIENT_ID, DAY, HOUR, sample
from tests.support import START

HEAD = "id,create_date_time,client_ids,order_status,revenue"
SAVE = {"merge_mode": "SAVE"}
CREATED = "2026-03-02 11:00:00"  # an hour before START, in Moscow


@pytest.fixture
def fake() -> Metrica:
    made = Metrica(ManualClock(START))
    made.keep_orders()
    made.visit("ClientId", CLIENT_ID, START - 2 * HOUR)
    return made


def put(fake: Metrica, text: str, query: dict[str, str] | None = None) -> dict[str, Any]:
    payload = file_of(text, "orders.csv", "0" * 32)
    answer = fake.orders.upload(SAVE if query is None else query, payload.content_type, payload.body)
    assert isinstance(answer.body, bytes)
    found: dict[str, Any] = msgspec.json.decode(answer.body)["uploading"]
    return found


def line(status: str = "IN_PROGRESS", revenue: str = "", id: str = "7", created: str = CREATED) -> str:
    return f"{id},{created},{CLIENT_ID},{status},{revenue}"


def test_the_vendors_own_sample_passes(fake: Metrica) -> None:
    """All three forms of a date, lists in quotes, further goals with and without a price."""
    told = put(fake, sample("orders.csv").decode())
    assert (told["api_validation_status"], told["elements_count"], told["entity_type"]) == ("PASSED", 4, "SYSTEM")
    reached = fake.orders.orders["lead-10004"].reached
    assert list(reached) == ["cdp_order_in_progress", "cdp_order_paid", "deal_won", "deal_paid"]


def test_an_order_without_a_status_is_paid(fake: Metrica) -> None:
    """The dangerous default (contract yandex 4.2)."""
    put(fake, f"{HEAD}\n{line('')}\n")
    assert fake.orders.orders["7"].last.status == "PAID"


def test_the_rows_of_a_file_are_applied_in_random_order(fake: Metrica) -> None:
    """An order that is twice in a file ends one way or the other (contract yandex 4.1)."""
    ends = set()
    for number in range(20):
        both = f"{line('IN_PROGRESS', id=str(number))}\n{line('PAID', '5', id=str(number))}"
        put(fake, f"{HEAD}\n{both}\n")
        ends.add(fake.orders.orders[str(number)].last.status)
    assert ends == {"IN_PROGRESS", "PAID"}


def test_save_forgets_what_is_not_there_and_creation_never_changes(fake: Metrica) -> None:
    """Contract yandex 4.1 and 4.2."""
    put(fake, f"{HEAD}\n{line('PAID', '500')}\n")
    put(fake, f"{HEAD}\n{line('CANCELLED', created='2026-03-02 11:30:00')}\n")
    made = fake.orders.orders["7"]
    assert (made.last.status, made.last.revenue) == ("CANCELLED", None)
    assert made.created == int((START - HOUR).timestamp())
    assert [state.revenue for state in made.states] == [Decimal(500), None]


@pytest.mark.parametrize(
    ("text", "query", "error"),
    [
        (f"{HEAD}\n{line()}\n", {}, "missing_parameter"),
        (f"{HEAD}\n{line()}\n", {"merge_mode": "REPLACE"}, "missing_parameter"),
        (f"{HEAD}\n{line()}\n", {**SAVE, "delimiter_type": "TAB"}, "invalid_parameter"),
        (f"{HEAD},yclid\n{line()},1\n", SAVE, "invalid_uploading"),
        (f"id,client_ids\n7,{CLIENT_ID}\n", SAVE, "invalid_uploading"),
        (f"id,create_date_time\n7,{CREATED}\n", SAVE, "invalid_uploading"),
        (f"{HEAD}\n", SAVE, "invalid_uploading"),
        (f"{HEAD}\n{line()},1\n", SAVE, "invalid_uploading"),
        (f'{HEAD}\n"{line()}\n', SAVE, "invalid_uploading"),
        ("", SAVE, "invalid_uploading"),
    ],
)
def test_a_malformed_request_is_refused_whole(fake: Metrica, text: str, query: dict[str, str], error: str) -> None:
    """A column that is not known (a yclid), one that is missing, no rows, no CSV, no merge mode."""
    with pytest.raises(DeniedError) as refusal:
        put(fake, text, query)
    assert refusal.value.error_type == error
    assert fake.orders.orders == {}


@pytest.mark.parametrize(
    "bad",
    [
        line(created="2026-03-02T11:00:00Z"),
        line(created="1969-01-01"),
        f"7,{CREATED},,PAID,",
        f"7,{CREATED},GA1.2.3,PAID,",
        line("PAID", "-5"),
        line("PAID", "1 000"),
    ],
)
def test_a_bad_row_is_left_out_and_not_named(fake: Metrica, bad: str) -> None:
    """The number of accepted elements is all that tells."""
    told = put(fake, f"{HEAD}\n{bad.replace('7,', '8,', 1)}\n{line()}\n")
    assert (told["api_validation_status"], told["elements_count"]) == ("PASSED", 1)
    assert list(fake.orders.orders) == ["7"]


def test_an_unknown_status_fails_the_file_with_http_200(fake: Metrica) -> None:
    """Contract yandex 4.3: the body has to be read; a mapping makes the status known."""
    text = f"{HEAD}\n{line('won')}\n{line('PAID', id='8')}\n"
    assert put(fake, text)["api_validation_status"] == "FAILED"
    assert fake.orders.orders == {}
    mapped = {"order_statuses": [{"id": "won", "humanized": "Won", "type": "PAID", "goal_action_ids": "deal_won"}]}
    fake.orders.map_statuses(msgspec.json.encode(mapped))
    assert put(fake, text)["api_validation_status"] == "PASSED"
    assert list(fake.orders.orders["7"].reached) == ["cdp_order_in_progress", "cdp_order_paid", "deal_won"]


@pytest.mark.parametrize(("age", "is_linked"), [(21 * DAY - HOUR, True), (21 * DAY + HOUR, False)])
def test_an_order_older_than_21_days_is_never_linked(fake: Metrica, age: timedelta, is_linked: bool) -> None:
    """Counted from its creation to the first upload (contract yandex 4.6)."""
    created = START - age
    fake.visit("ClientId", CLIENT_ID, created - 30 * DAY)
    put(fake, f"{HEAD}\n{line(created=created.astimezone(fake.orders.zone).strftime('%Y-%m-%d %H:%M:%S'))}\n")
    visit = fake.orders.orders["7"].visit
    assert visit == (int((created - 30 * DAY).timestamp()) if is_linked else None)


def test_an_order_changes_for_111_days_after_its_visit(fake: Metrica) -> None:
    """Afterwards the upload passes and changes nothing (contract yandex 4.6)."""
    clock = fake.clock
    assert isinstance(clock, ManualClock)
    put(fake, f"{HEAD}\n{line()}\n")
    clock.advance(110 * DAY)
    put(fake, f"{HEAD}\n{line('PAID', '5')}\n")
    clock.advance(2 * DAY)
    assert put(fake, f"{HEAD}\n{line('CANCELLED')}\n")["api_validation_status"] == "PASSED"
    made = fake.orders.orders["7"]
    assert (made.last.status, made.refused) == ("PAID", 1)


def test_statistics_show_the_goals_of_a_linked_order_in_its_visit(fake: Metrica) -> None:
    """A while after the upload; Metrica's own goals of orders, and the event of a status."""
    clock = fake.clock
    assert isinstance(clock, ManualClock)
    put(fake, f"{HEAD}\n{line()}\n")
    put(fake, f"{HEAD}\n{line('qualified_lead')}\n")
    assert [goals for _, goals in fake._shown(clock.now()) if goals] == []
    clock.advance(HOUR)
    names = {goal["id"]: goal["name"] for goal in fake.goals}
    (goals,) = [goals for _, goals in fake._shown(clock.now()) if goals]
    assert [names[goal] for goal in goals] == ["cdp_order_in_progress", "Goal qualified_lead"]
    (order,) = fake.orders.orders.values()
    assert order.visit == int((START - 2 * HOUR).timestamp())


def test_the_list_of_uploads_goes_backwards_from_its_cursor(fake: Metrica) -> None:
    """Strictly before it, newest first, at most so many (contract yandex 4.3)."""
    clock = fake.clock
    assert isinstance(clock, ManualClock)
    for number in range(3):
        put(fake, f"{HEAD}\n{line(id=str(number))}\n")
        clock.advance(timedelta(seconds=1))

    def times(**query: str) -> list[str]:
        answer = fake.orders.last_uploadings(query)
        assert isinstance(answer.body, bytes)
        return [one["datetime"][-2:] for one in msgspec.json.decode(answer.body)["uploadings"]]

    assert times() == ["02", "01", "00"]
    assert times(limit="2") == ["02", "01"]
    assert times(datetime_offset="2026-03-02 12:00:02") == ["01", "00"]
    with pytest.raises(DeniedError):
        times(limit="1001")
