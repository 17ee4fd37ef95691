"""Files for manual upload: the right rows, exact bytes, written whole and only once."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.table import SPEC, upload
from adapters.table.destination import UploadFolder
from adapters.table.settings import UploadFileSettings
from bridge.clues import read as read_clues
from bridge.errors import Unavailable
from bridge.frozen import replace
from bridge.model import TOLD, ConversionKind, Identifier, IdKind, Money, Outgoing
from bridge.ports import Fate, Level, Pass, Proof, Sealed
from bridge.tools import Tools
from tests.adapters.table.kit import Office

SAMPLES = Path(__file__).resolve().parents[3] / "adapters/table/samples"
CREATED = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DONE = CREATED + timedelta(days=3, seconds=5)
NOW = DONE + timedelta(hours=1)
LABEL = "0123456789abcdef0123456789abcdef"
YCLID = Identifier(IdKind.YCLID, "12345678901234567890")
CLIENT = Identifier(IdKind.CLIENT_ID, "1772690000123456789")
GCLID = Identifier(IdKind.GCLID, "Cj0KCQiAsampleSAMPLEsample001")
FORMATS = ("yandex_metrica", "google_ads", "spreadsheet")
MOSCOW = ZoneInfo("Europe/Moscow")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


def row(*identifiers: Identifier, number: int = 1, target: str = "deal_won", value: str | None = "1500.5") -> Outgoing:
    return Outgoing(
        delivery=f"{number:032x}",
        order_key=f"{number:032x}",
        target=target,
        goal="sale",
        occurred_at=DONE,
        deal_created_at=CREATED,
        value=None if value is None else Money.of(value, "RUB"),
        identifiers=identifiers or (YCLID, CLIENT, GCLID),
        touched_at=CREATED,
    )


def folder(tools: Tools, kind: str = "yandex_metrica", path: str = "out/uploads") -> UploadFolder:
    assert SPEC.destination is not None
    settings = SPEC.destination.settings.model_validate({"kind": "table", "path": path, "format": kind})
    assert isinstance(settings, UploadFileSettings)
    built = SPEC.destination.build("files", settings, tools)
    assert isinstance(built, UploadFolder)
    return built


def sealed(made: UploadFolder, rows: Sequence[Outgoing], label: str = LABEL) -> Sealed:
    return Sealed(label, made.render(rows, label), tuple(item.delivery for item in rows))


def three() -> list[Outgoing]:
    """A sale with all identifiers, a lead without a value known by its ClientID only, a corrected sale."""
    corrected = replace(row(number=3, value="900"), kind=ConversionKind.RESTATEMENT)
    second = replace(
        row(CLIENT, GCLID, number=2, value=None), target='lead, "good"', occurred_at=DONE + timedelta(seconds=1)
    )
    return [corrected, row(), second]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_file_is_exactly_the_sample(tools: Tools, kind: str) -> None:
    """The samples in the adapter's folder are what comes out, byte for byte, a correction after what it corrects."""
    made = folder(tools, kind)
    assert made.render(three(), LABEL).body == (SAMPLES / f"upload_{kind}.csv").read_bytes()
    assert made.render(three(), "f" * 32) == made.render(three(), LABEL)


@pytest.mark.parametrize("kind", FORMATS)
async def test_a_batch_sent_twice_is_one_file(tools: Tools, kind: str) -> None:
    """Proof ROW: after a crash the same bytes go to the same name; no draft is left behind."""
    made = folder(tools, kind)
    assert made.traits.proof is Proof.ROW
    batch = sealed(made, three())
    first, second = await made.send(batch), await made.send(batch)
    assert first == second
    assert [outcome.fate for outcome in first.outcomes] == [Fate.ACCEPTED] * 3
    (path,) = (tools.folder / "out/uploads").iterdir()
    assert path.name == f"{kind}-0123456789ab.csv" == first.receipt["file"]
    assert path.read_bytes() == batch.payload.body


async def test_another_batch_is_another_file(tools: Tools) -> None:
    """Nothing overwrites what a human has not uploaded yet."""
    made = folder(tools)
    await made.send(sealed(made, [row()]))
    await made.send(sealed(made, [row(number=2)], "f" * 32))
    assert len(list((tools.folder / "out/uploads").iterdir())) == 2


async def test_a_file_that_cannot_be_written_was_not_written(tools: Tools) -> None:
    """Unavailable: the same batch may be tried again; ``check`` says why."""
    (tools.folder / "taken").write_text("a file")
    made = folder(tools, path="taken")
    with pytest.raises(Unavailable):
        await made.send(sealed(made, [row()]))
    (finding,) = await made.check({})
    assert finding.level is Level.ERROR


async def test_check_changes_nothing_and_refuses_formulas(tools: Tools) -> None:
    """A folder to be created is fine; a goal named like a formula is not."""
    findings = await folder(tools).check({"sale": "deal_won", "spam": "=cmd()"})
    assert [finding.level for finding in findings] == [Level.OK, Level.ERROR]
    assert not (tools.folder / "out").exists()
    (good,) = await folder(tools, "spreadsheet").check({"spam": "=cmd()"})
    assert good.level is Level.OK


@pytest.mark.parametrize(
    ("kind", "changes", "now", "verdict", "code"),
    [
        ("yandex_metrica", {}, NOW, Pass.SEND, ""),
        ("yandex_metrica", {"identifiers": (GCLID,)}, NOW, Pass.REFUSED, "no_identifier"),
        ("yandex_metrica", {"target": "@sum"}, NOW, Pass.REFUSED, "formula"),
        ("yandex_metrica", {"value": Money(-1, "RUB")}, NOW, Pass.REFUSED, "negative_value"),
        ("yandex_metrica", {}, CREATED + timedelta(days=21), Pass.EXPIRED, "window_21d"),
        ("yandex_metrica", {}, CREATED + timedelta(days=21, seconds=-1), Pass.SEND, ""),
        ("yandex_metrica", {"touched_at": None}, CREATED + timedelta(days=21), Pass.EXPIRED, "window_21d"),
        ("yandex_metrica", {}, DONE, Pass.WAIT, "in_future"),
        ("spreadsheet", {}, CREATED + timedelta(days=300), Pass.SEND, ""),
        ("spreadsheet", {"target": "@sum"}, NOW, Pass.SEND, ""),
        ("spreadsheet", {}, DONE, Pass.WAIT, "in_future"),
        ("google_ads", {}, NOW, Pass.SEND, ""),
        ("google_ads", {"identifiers": (YCLID, CLIENT)}, NOW, Pass.REFUSED, "no_identifier"),
        ("google_ads", {"identifiers": (replace(GCLID, value="-x"),)}, NOW, Pass.REFUSED, "formula"),
        ("google_ads", {}, CREATED + timedelta(days=90), Pass.EXPIRED, "window_90d"),
        ("google_ads", {}, CREATED + timedelta(days=89), Pass.SEND, ""),
        ("google_ads", {"touched_at": NOW - timedelta(hours=1)}, NOW, Pass.WAIT, "click_age"),
    ],
)
def test_only_rows_that_can_be_linked_are_admitted(
    tools: Tools, kind: str, changes: dict[str, object], now: datetime, verdict: Pass, code: str
) -> None:
    """Identifiers and windows are those of the vendor the file is for; a wait says until when."""
    admission = folder(tools, kind).admit(replace(row(), **changes), now)  # type: ignore[arg-type]  # a table of cases
    assert (admission.verdict, admission.code) == (verdict, code)
    assert (admission.until is not None) == (verdict is Pass.WAIT)


def cells_of(kind: str, sale: Outgoing) -> list[str]:
    template = upload.TEMPLATES[kind]
    text = upload.render(template, [sale], MOSCOW).decode(template.encoding)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=template.delimiter))[-1]


@pytest.mark.parametrize("kind", FORMATS)
@given(target=TEXTS, minor=st.integers(0, 10**12))
def test_a_row_comes_back_from_the_file_unchanged(kind: str, target: str, minor: int) -> None:
    """Whatever a goal is called and a sale brings; and no cell of an admitted row is a formula."""
    sale = replace(row(target=target), value=Money(minor, "RUB"))
    cells = cells_of(kind, sale)
    assert sale.value
    assert str(sale.value.amount) in [cell.replace(",", ".") for cell in cells]
    if upload.admit(upload.TEMPLATES[kind], sale, NOW).verdict is Pass.SEND:
        assert not any(upload.is_formula(cell) for cell in cells)
    if kind == "spreadsheet":
        assert cells[2] in (target, f"'{target}")
    else:
        assert target in cells


@given(st.sampled_from("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"), TEXTS, st.sampled_from(TOLD))
def test_a_formula_is_a_text_in_a_spreadsheet_and_refused_where_cells_must_be_exact(
    sign: str, rest: str, kind: IdKind
) -> None:
    """An apostrophe makes it a text for people; to an importer it would be another goal, another click."""
    sale = row(Identifier(kind, sign + rest), target=sign + rest)
    (order, _, target, *_), admitted = cells_of("spreadsheet", sale), upload.admit
    assert target == f"'{sign}{rest}"
    assert f"'{sign}{rest}" in cells_of("spreadsheet", sale)[7:]
    assert order.startswith("'")
    assert admitted(upload.TEMPLATES["spreadsheet"], sale, NOW).verdict is Pass.SEND
    for exact in ("yandex_metrica", "google_ads"):
        assert admitted(upload.TEMPLATES[exact], sale, NOW).code in ("formula", "no_identifier")


@pytest.mark.parametrize("text", ["1772690000123456789", "7012345678", "00123", "12e5", "1.5", "1 234,5"])
def test_what_looks_like_a_number_stays_a_text_in_a_spreadsheet(text: str) -> None:
    """A spreadsheet would round identifiers, drop leading noughts and compute powers of ten."""
    assert upload.as_text(text) == f"'{text}"


@pytest.mark.parametrize("text", ["Cj0KCQiAsampleSAMPLE", "deal_won", "лид, хороший", "a-1", "fb.1.1554.IwAR"])
def test_other_texts_are_left_as_they_are(text: str) -> None:
    """No apostrophe where none is needed."""
    assert upload.as_text(text) == text


async def test_our_own_source_reads_a_spreadsheet_file_back(office: Office) -> None:
    """Time, amount, currency and every digit of every identifier: what a spreadsheet has to understand is plain."""
    sale = replace(row(number=7), occurred_at=DONE)
    office.path.write_bytes(upload.render(upload.TEMPLATES["spreadsheet"], [sale], MOSCOW))
    deal = await office.one()
    assert (deal.id, deal.created_at, deal.value) == (sale.order_key, DONE, Money.of("1500.50", "RUB"))
    assert {one.value for one in read_clues(deal).identifiers} == {YCLID.value, CLIENT.value, GCLID.value}


def test_batches_are_bounded_and_mixed(tools: Tools) -> None:
    """One file takes all goals, up to what a spreadsheet opens."""
    made = folder(tools)
    assert (made.batch_size(3), made.batch_size(10**6)) == (3, 50_000)
    assert made.batch_key(row(target="a")) == made.batch_key(row(target="b"))


async def test_a_power_failure_cannot_leave_half_a_file(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name appears only when the bytes are on the disk: a failing sync leaves no file under it."""
    made = folder(tools)

    def broken(handle: int) -> None:
        raise OSError("disk")

    monkeypatch.setattr("adapters.table.destination.os", SimpleNamespace(**{**vars(__import__("os")), "fsync": broken}))
    with pytest.raises(Unavailable):
        await made.send(sealed(made, [row()]))
    assert [path.name for path in (tools.folder / "out/uploads").glob("*.csv") if not path.name.startswith(".")] == []
