"""Google Sheets as a table: what the API leaves out, refuses and changes on the way, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from adapters.table import SPEC, sheets
from adapters.table.columns import recognise
from adapters.table.fake import READS_MAX, TITLES, GoogleSheets
from adapters.table.fake_book import Amount, Sheet, Shown, Value, Wrong, parse_mask
from adapters.table.settings import TableSettings
from adapters.table.source import Table
from adapters.table.values import parse_amount
from bridge.clues import read as read_clues
from bridge.errors import AuthError, BridgeError, ConfigError, Drift, Refused, Throttled, Unavailable
from bridge.frozen import replace
from bridge.model import Deal, Money, Outcome
from bridge.ports import BadRecord, Level, Window
from bridge.sim.clock import ManualClock
from bridge.sim.faults import Fault, FaultPlan
from bridge.sim.world import World
from bridge.tools import Tools
from tests.adapters.table.kit import NOW, WINDOW, Office

CAME, PAID = datetime.fromisoformat("2026-03-05T09:07:29"), datetime.fromisoformat("2026-03-06T12:00:00")
HEAD: list[Value] = ["ID сделки", "Дата создания", "Статус", "Сумма", "ClientID", "Дата статуса"]
BIG = "1772690000123456789"


class Cloud:
    """A spreadsheet in the simulated cloud, and the source that reads it."""

    def __init__(self, fake: GoogleSheets, tools: Tools, clock: ManualClock) -> None:
        self.fake, self.tools, self.clock = fake, tools, clock

    def fill(self, *rows: list[Value], head: list[Value] | None = None) -> None:
        self.fake.leads.rows = [list(head or HEAD), *(list(row) for row in rows)]

    def source(self, **options: Any) -> Table:
        assert SPEC.source is not None
        settings = TableSettings.model_validate({**self.fake.settings(), "requests_per_second": 1000, **options})
        made = SPEC.source.build("leads", settings, self.tools)
        assert isinstance(made, Table)
        return made

    async def read(self, source: Table | None = None, **options: Any) -> tuple[dict[str, Deal], list[BadRecord]]:
        port = source or self.source(**options)
        deals: dict[str, Deal] = {}
        bad: list[BadRecord] = []
        async for listing in port.scan(WINDOW):
            bad += listing.bad
            for answer in await port.complete(listing.heads, frozenset(), WINDOW):
                if isinstance(answer, Deal):
                    deals[answer.id] = answer
                else:
                    bad.append(answer)
        return deals, bad

    async def one(self, **options: Any) -> Deal:
        deals, bad = await self.read(**options)
        assert bad == []
        (deal,) = deals.values()
        return deal

    async def told(self, level: Level, **options: Any) -> list[str]:
        return [item.message for item in await self.source(**options).check() if item.level is level]


@pytest.fixture
def clock(tools: Tools) -> ManualClock:
    assert isinstance(tools.clock, ManualClock)
    return tools.clock


@pytest.fixture
async def cloud(tools: Tools, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    """A running simulator whose key the environment holds."""
    fake = GoogleSheets(clock, name="okna")
    await fake.start()
    for name, secret in fake.secrets().items():
        monkeypatch.setenv(name, secret)
    yield Cloud(fake, tools, clock)
    await fake.stop()


# --- cells ---


async def test_serial_dates_are_in_the_spreadsheets_zone_and_amounts_are_numbers(cloud: Cloud) -> None:
    """Unformatted values: days since 1899-12-30, no zone, no group marks (contract tables A2)."""
    cloud.fill(["A-1", CAME, "Оплачен", Amount(Decimal("100000.5")), BIG, PAID])
    deal = await cloud.one()
    assert deal.created_at == datetime(2026, 3, 5, 6, 7, 29, tzinfo=UTC)
    assert deal.history[0].at == datetime(2026, 3, 6, 9, 0, tzinfo=UTC)
    assert (deal.value, deal.outcome) == (Money(10_000_050, "RUB"), Outcome.WON)
    assert read_clues(deal).identifiers[0].value == BIG
    cloud.fake.book.time_zone = "Asia/Yekaterinburg"
    assert (await cloud.one()).created_at == datetime(2026, 3, 5, 4, 7, 29, tzinfo=UTC)
    assert (await cloud.one(timezone="UTC")).created_at == datetime(2026, 3, 5, 9, 7, 29, tzinfo=UTC)


async def test_a_day_without_a_time_is_noon_there_too(cloud: Cloud) -> None:
    """A whole serial number is a day."""
    cloud.fill(["A-1", date(2026, 3, 5), "Новый"], ["A-2", "05.03.2026", "Новый"])
    deals, _ = await cloud.read()
    assert {deal.created_at for deal in deals.values()} == {datetime(2026, 3, 5, 9, 0, tzinfo=UTC)}


async def test_ragged_rows_and_blank_rows_are_rows(cloud: Cloud) -> None:
    """Trailing empty cells and rows are left out of the answer, inner ones are empty texts (F6)."""
    cloud.fill(["A-1", CAME], [], ["A-2", CAME, "", None, BIG], ["A-3", "вчера"], [None, None, "", None])
    deals, (bad,) = await cloud.read()
    assert list(deals) == ["A-1", "A-2"]
    assert 'row 5, column "Дата создания"' in bad.message


@pytest.mark.parametrize("rows", [[], [[]], [[None, ""], []]])
async def test_an_empty_sheet_has_no_values_at_all_and_is_named(cloud: Cloud, rows: list[list[Value]]) -> None:
    """An answer without ``values`` (F6) is an empty table, not an unknown answer."""
    cloud.fake.leads.rows = rows
    with pytest.raises(Drift, match='spreadsheet "Заявки", sheet "Лиды": empty'):
        await cloud.read()


async def test_numbers_booleans_and_errors_of_cells(cloud: Cloud) -> None:
    """An error is an empty cell and is told by ``check``; yes and no are words; a long number has lost its digits."""
    head: list[Value] = [*HEAD, "Срочно"]
    cloud.fill(["A-1", CAME, "Новый", Wrong("#ССЫЛКА!"), 1772690000123456789, PAID, True], head=head)
    deal = await cloud.one()
    assert (deal.value, deal.fields["Срочно"]) == (None, ("true",))
    assert [g.reason for g in read_clues(deal).garbage] == ["scientific_notation"]
    warnings = await cloud.told(Level.WARNING)
    assert any("and count as empty: 1" in text and 'row 2, column "Сумма"' in text for text in warnings)
    assert any("have lost their digits" in text and 'row 2, column "ClientID"' in text for text in warnings)


async def test_a_number_as_id_is_the_same_id_however_it_is_formatted(cloud: Cloud) -> None:
    """An id must not depend on how somebody likes to see it: a changed format would make new leads of all."""
    cloud.fill([17, CAME, "Новый"])
    assert (await cloud.one()).key == "lead:17"


@pytest.mark.parametrize("group", ["\u00a0", "\u202f", " "])
def test_amounts_as_a_russian_spreadsheet_shows_them_are_read(group: str) -> None:
    """Which space stands between thousands is not verified (contract tables, unverified 3): each will do."""
    fake = GoogleSheets(ManualClock(NOW))
    fake.book.group = group
    for amount in ("0.00", "1234567.89", "-500.10"):
        shown = Shown(fake.book).of(Amount(Decimal(amount)))
        assert group in shown or len(amount) < 8
        assert parse_amount(shown)[0] == Decimal(amount)


@pytest.fixture
def business(cloud: Cloud) -> GoogleSheets:
    """An office that has written down the business of some days."""
    world = World.make(3, 60, start=NOW - timedelta(days=20), days=15)
    for event in world.happenings():
        cloud.fake.happen(event)
    return cloud.fake


async def test_the_downloaded_csv_means_the_same_as_the_api(
    cloud: Cloud, business: GoogleSheets, office: Office
) -> None:
    """Formatted texts with commas and hard spaces, and plain numbers: the same deals, stage by stage."""
    office.write(business.book.as_csv(business.leads))
    by_file, bad = await office.read()
    by_api, worse = await cloud.read()
    assert (len(by_api), bad, worse) == (60, [], [])

    def gist(deals: dict[str, Deal]) -> dict[str, Any]:
        return {
            id: (deal.created_at, deal.history, deal.value, deal.clues, deal.loss_reason) for id, deal in deals.items()
        }

    assert gist(by_file) == gist(by_api)


# --- which cells ---


async def test_the_sheet_is_chosen_by_name_by_the_address_or_is_the_first_visible(cloud: Cloud) -> None:
    """Charts hold no cells, hidden sheets are passed over; the number in the address chooses among the others."""
    cloud.fill(["A-1", CAME, "Новый"])
    other = Sheet(42, "It's March", [list(HEAD), ["B-1", CAME, "Новый"]])
    cloud.fake.book.sheets.append(other)
    assert (await cloud.one()).id == "A-1"
    assert (await cloud.one(spreadsheet=cloud.fake.book.id)).id == "A-1"
    assert (await cloud.one(sheet="it's march")).id == "B-1"
    assert (await cloud.one(range="'It''s March'!A:F")).id == "B-1"
    address = f"https://docs.google.com/spreadsheets/d/{cloud.fake.book.id}/edit#gid=42"
    assert (await cloud.one(spreadsheet=address)).id == "B-1"
    with pytest.raises(Drift, match="with the number 43"):
        await cloud.read(spreadsheet=address.replace("42", "43"))


async def test_a_range_leaves_out_what_stands_around_the_table(cloud: Cloud) -> None:
    """Row numbers stay those of the spreadsheet; a range beyond the grid is cut to it before Google refuses it."""
    rows: list[list[Value]] = [["Отчёт"], [None, *HEAD], [None, "A-1", CAME], [None, "A-2", "вчера"], ["Итого", 2]]
    cloud.fake.leads.rows = rows
    for wanted in ("B2:G4", "B2:ZZ4"):
        deals, (bad,) = await cloud.read(range=wanted)
        assert list(deals) == ["A-1"]
        assert 'row 4, column "Дата создания"' in bad.message
    with pytest.raises(Drift, match="only 1000 rows"):
        await cloud.read(range="A2000:Z3000")


async def test_a_renamed_sheet_is_named_with_those_that_are_there(cloud: Cloud) -> None:
    """Noticed before any cell is asked for."""
    cloud.fill(["A-1", CAME, "Новый"])
    cloud.fake.leads.title = "Заявки 2026"
    with pytest.raises(Drift, match='no sheet "Лиды"; there are: "Архив", "Заявки 2026"'):
        await cloud.read(sheet="Лиды")


async def test_a_sheet_renamed_in_between_is_refused_by_google(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The 400 "Unable to parse range" (F7) says what to look at, and ``check`` says the same."""
    cloud.fill(["A-1", CAME, "Новый"])
    described = cloud.fake.book.describe()
    monkeypatch.setattr(type(cloud.fake.book), "describe", lambda _: described)
    cloud.fake.leads.title = "Заявки 2026"
    with pytest.raises(Refused, match="renamed") as refused:
        await cloud.read()
    assert refused.value.code == "INVALID_ARGUMENT"
    assert "renamed" in (await cloud.told(Level.ERROR))[0]


# --- large sheets ---


def many(count: int) -> list[list[Value]]:
    return [[f"A-{number}", CAME, "Новый"] for number in range(count)]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of 500 rows."""
    monkeypatch.setattr(sheets, "CELLS_MAX", 1)


@pytest.mark.usefixtures("small_blocks")
async def test_a_long_sheet_comes_in_blocks_with_every_row_once(cloud: Cloud) -> None:
    """Row numbers go on from block to block, gaps between them included."""
    cloud.fill(*many(700), *[[]] * 600, ["A-x", "вчера"])
    deals, (bad,) = await cloud.read()
    assert len(deals) == 700
    assert "row 1302," in bad.message
    assert cloud.fake.requests["GET values:batchGet"] == 3


@pytest.mark.usefixtures("small_blocks")
async def test_columns_moved_between_two_blocks_stop_the_reading(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request is one moment, several are not: an amount must not be read as an identifier."""
    cloud.fill(*many(700))
    whole, asked = cloud.fake.book.values, []

    def values(self: Any, wanted: str, shown: Shown) -> dict[str, Any]:
        asked.append(wanted)
        if len(asked) == 2:
            for row in cloud.fake.leads.rows:
                row.insert(1, "x")
        return whole(wanted, shown)

    monkeypatch.setattr(type(cloud.fake.book), "values", values)
    with pytest.raises(Unavailable, match="changed while it was read"):
        await cloud.read()


async def test_an_unchanged_spreadsheet_lists_nothing(cloud: Cloud) -> None:
    """It has to be read to see that; a changed cell lists it again, a changed format of a cell does not."""
    cloud.fill(["A-1", CAME, "Новый", Amount(Decimal(5))])

    async def polled(marks: str | None) -> tuple[int, str | None]:
        listings = [listing async for listing in cloud.source().scan(Window(NOW, NOW, marks))]
        return sum(len(listing.heads) for listing in listings), listings[-1].marks if listings else marks

    first, marks = await polled("")
    assert (first, await polled(marks)) == (1, (0, marks))
    cloud.fill(["A-1", CAME, "Новый", 5])
    assert await polled(marks) == (0, marks)
    cloud.fill(["A-1", CAME, "Новый", 6])
    assert (await polled(marks))[0] == 1


# --- trouble ---


async def test_a_spreadsheet_that_is_not_shared_says_with_whom_to_share_it(cloud: Cloud) -> None:
    """403: the address of the service account is in the finding, nothing of the key."""
    cloud.fake.shared_with.clear()
    (finding,) = await cloud.source().check()
    assert finding.level is Level.ERROR
    assert "share it with its client_email" in finding.message
    assert "bridge@simulated.iam.gserviceaccount.com" in finding.subject
    with pytest.raises(AuthError):
        await cloud.read()


async def test_a_switched_off_api_and_an_unknown_spreadsheet_say_what_to_do(cloud: Cloud) -> None:
    """403 SERVICE_DISABLED, 404."""
    cloud.fake.is_enabled = False
    assert "enable it" in (await cloud.told(Level.ERROR))[0]
    cloud.fake.is_enabled = True
    cloud.clock.advance(timedelta(hours=1))
    assert "no such spreadsheet" in (await cloud.told(Level.ERROR, spreadsheet="x" * 44))[0]


async def test_the_sixty_first_read_of_a_minute_waits_and_succeeds(cloud: Cloud) -> None:
    """429 RESOURCE_EXHAUSTED (F8): the quota is filled again each minute, so is the patience."""
    cloud.fill(["A-1", CAME, "Новый"])
    source = cloud.source()
    began = cloud.clock.now()
    for _ in range(READS_MAX // 2):
        await cloud.read(source)
    assert cloud.clock.now() == began
    deals, _ = await cloud.read(source)
    assert list(deals) == ["A-1"]
    assert timedelta(seconds=30) <= cloud.clock.now() - began <= timedelta(seconds=90)


async def test_a_quota_that_stays_empty_is_throttled_and_loses_nothing(cloud: Cloud) -> None:
    """Somebody else uses the service account up: the next poll tries again."""
    cloud.fill(["A-1", CAME, "Новый"])
    cloud.fake.faults = FaultPlan(1, {Fault.THROTTLE: 1.0})
    with pytest.raises((Throttled, Unavailable)):
        await cloud.read()
    cloud.fake.faults.stop()
    cloud.clock.advance(timedelta(minutes=2))
    assert list((await cloud.read())[0]) == ["A-1"]


async def test_one_key_has_one_limit_whoever_reads_with_it(cloud: Cloud) -> None:
    """A service account is one user to Google (contract tables A4): all tables of all tenants share its 60 reads."""
    setups: list[str] = []
    wanted = cloud.tools.http.account

    class Watched:
        def account(self, setup: Any) -> Any:
            setups.append(setup.limit)
            return wanted(setup)

    cloud.tools = replace(cloud.tools, http=Watched())
    cloud.source()
    cloud.source(sheet="Архив")
    assert len(set(setups)) == 1
    assert setups[0]


async def test_a_dead_token_is_renewed_and_a_dead_key_is_final(cloud: Cloud) -> None:
    """401: one refresh, one replay; an ``invalid_grant`` stops the account and blames key or clock."""
    cloud.fill(["A-1", CAME, "Новый"])
    source = cloud.source()
    await cloud.read(source)
    cloud.fake.tokens.expire()
    await cloud.read(source)
    assert cloud.fake.tokens.issued == 2
    cloud.fake.tokens.is_revoked = True
    with pytest.raises(AuthError, match="invalid_grant") as dead:
        await cloud.read(source)
    assert dead.value.is_final


async def test_a_token_is_asked_for_once_an_hour(cloud: Cloud) -> None:
    """It lives 3,599 seconds."""
    cloud.fill(["A-1", CAME, "Новый"])
    source = cloud.source()
    for _ in range(5):
        await cloud.read(source)
        cloud.clock.advance(timedelta(minutes=5))
    assert cloud.fake.tokens.issued == 1
    cloud.clock.advance(timedelta(minutes=40))
    await cloud.read(source)
    assert cloud.fake.tokens.issued == 2


async def test_a_clock_that_is_wrong_gets_no_token(cloud: Cloud, tools: Tools) -> None:
    """Google refuses assertions from the future; the message points at the clock."""
    late = ManualClock(NOW + timedelta(hours=2))
    cloud.tools = replace(tools, clock=late)
    with pytest.raises(AuthError, match="clock"):
        await cloud.read()


@pytest.mark.parametrize("fault", list(Fault))
async def test_under_each_fault_a_read_is_whole_or_an_error_of_ours(cloud: Cloud, fault: Fault) -> None:
    """Half an answer is no answer."""
    cloud.fill(["A-1", CAME, "Новый"], ["A-2", CAME, "Новый"])
    cloud.fake.faults = FaultPlan(5, {fault: 0.5})
    for _ in range(12):
        cloud.clock.advance(timedelta(hours=1))
        try:
            deals, bad = await cloud.read()
        except BridgeError:
            continue
        assert (list(deals), bad) == (["A-1", "A-2"], [])


async def test_an_unknown_time_zone_of_the_spreadsheet_needs_a_setting(cloud: Cloud) -> None:
    """Rather than times that are hours off."""
    cloud.fill(["A-1", CAME, "Новый"])
    cloud.fake.book.time_zone = "GMT+03:00"
    with pytest.raises(Drift, match="set timezone"):
        await cloud.read()
    assert (await cloud.one(timezone="Europe/Moscow")).id == "A-1"


async def test_a_zone_that_is_not_the_tenants_is_told(cloud: Cloud) -> None:
    """New spreadsheets often keep the zone of whoever made the account; zones that show the same time are one."""
    cloud.fill(["A-1", CAME, "Новый"])
    assert not any("time zone is" in text for text in await cloud.told(Level.WARNING))
    cloud.fake.book.time_zone = "Europe/Minsk"
    assert not any("time zone is" in text for text in await cloud.told(Level.WARNING))
    cloud.fake.book.time_zone = "America/Los_Angeles"
    assert any("America/Los_Angeles" in text for text in await cloud.told(Level.WARNING))
    assert not any("time zone is" in text for text in await cloud.told(Level.WARNING, timezone="Europe/Moscow"))


# --- settings ---


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"path": "a.csv", "spreadsheet": "x" * 44, "credentials": {"env": "K"}},
        {"spreadsheet": "x" * 44},
        {"path": "a.csv", "credentials": {"env": "K"}},
        {"spreadsheet": "https://docs.google.com/spreadsheets/d/e/2PACX-1vabc/pub", "credentials": {"env": "K"}},
        {"spreadsheet": "leads", "credentials": {"env": "K"}},
        {"path": "a.xlsx", "range": "A1"},
        {"path": "a.xlsx", "range": "C:A"},
        {"path": "a.xlsx", "range": "A9:B2"},
        {"path": "a.xlsx", "sheet": "Лиды", "range": "Лиды!A:B"},
    ],
)
def test_settings_that_name_no_table_or_two_are_refused(section: dict[str, Any]) -> None:
    """A file or a spreadsheet, with its key; a published copy is no spreadsheet that can be read."""
    with pytest.raises(ValidationError):
        TableSettings.model_validate({"kind": "table", **section})


@pytest.mark.parametrize("key", ["{}", "nonsense", '{"client_email": "a@b", "private_key": "x"}', "[]"])
async def test_a_key_that_is_none_says_to_download_it_again(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """And does not repeat it."""
    monkeypatch.setenv("OKNA_SHEETS_KEY", key)
    with pytest.raises(ConfigError, match="download the key") as wrong:
        cloud.source()
    assert key not in str(wrong.value) or key == "{}"


# --- the simulator itself ---


@pytest.mark.parametrize("mask", ["a(", "a,,b", "a)b", "a b", ""])
def test_a_broken_field_mask_is_refused(mask: str) -> None:
    """As Google refuses it."""
    with pytest.raises(ValueError, match=r".*"):
        parse_mask(mask)


def test_every_title_of_the_simulated_office_has_a_role() -> None:
    """Nothing of what it writes down is lost on our source."""
    assert recognise(1, TITLES, {}).own == ()
