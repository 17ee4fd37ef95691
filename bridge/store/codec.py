"""Values to columns and back: times as integer microseconds, the rest as JSON bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Table,
    TableValuedAlias,
    Text,
    any_,
    bindparam,
    cast,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.dml import Insert

from bridge.catalogue import Catalogue
from bridge.identity import Reading
from bridge.model import Deal, Identifier, Outgoing, frozen
from bridge.rules.coverage import Report
from bridge.rules.definitions import Part, Seen
from bridge.rules.expectation import Estimate
from bridge.rules.floor import Period
from bridge.rules.windows import Closing
from bridge.tools import Tokens

T = TypeVar("T")


@frozen
class Facts:
    """A deal behind the border, and what was read from its clues: all that judging again needs."""

    deal: Deal
    reading: Reading


_encoder = msgspec.json.Encoder()
encode: Callable[[Any], bytes] = _encoder.encode
facts = msgspec.json.Decoder(Facts).decode
outgoing = msgspec.json.Decoder(Outgoing).decode
identifiers = msgspec.json.Decoder(tuple[Identifier, ...]).decode
keys = msgspec.json.Decoder(tuple[str, ...]).decode
catalogue = msgspec.json.Decoder(Catalogue).decode
tokens = msgspec.json.Decoder(Tokens).decode
texts = msgspec.json.Decoder(list[str]).decode
report = msgspec.json.Decoder(Report).decode
estimate = msgspec.json.Decoder(Estimate).decode
closing = msgspec.json.Decoder(Closing).decode
_periods = msgspec.json.Decoder(tuple[Period, ...]).decode
_goals = msgspec.json.Decoder(dict[str, dict[str, Part]]).decode
_mapping = msgspec.json.Decoder(dict[str, Any]).decode

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Unix microseconds of an aware time, exactly."""
    return (moment - EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """The aware UTC time of Unix microseconds."""
    return EPOCH + timedelta(microseconds=value)


def maybe(value: int | None) -> datetime | None:
    return None if value is None else moment(value)


def encoded(values: Iterable[Any]) -> Iterator[bytes]:
    """The same of many large values: the room in which they are put together grows once for them all."""
    room = bytearray()
    for value in values:
        _encoder.encode_into(value, room)
        yield bytes(room)


def periods(data: bytes | None) -> tuple[Period, ...]:
    return () if data is None else _periods(data)


def goals(data: bytes | None) -> Seen | None:
    return None if data is None else _goals(data)


def mapping(data: bytes | None) -> dict[str, Any]:
    return {} if data is None else _mapping(data)


def among(dialect: str, column: ColumnElement[str], keys: Iterable[str]) -> ColumnElement[bool]:
    """Whether a column is one of these texts: a single bound value, however many they are."""
    return _among(dialect, column, literal(listed(dialect, keys), _list_type(dialect)))


def among_named(dialect: str, column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """The same for a query made once: its parameter of that name takes what ``listed`` makes of the texts."""
    return _among(dialect, column, bindparam(name, type_=_list_type(dialect)))


def each_named(dialect: str, name: str) -> ColumnElement[str]:
    """A row for each text that ``listed`` made that parameter of, for a query made once."""
    bound = bindparam(name, type_=_list_type(dialect))
    if dialect == "sqlite":
        return _each_of(bound)
    return func.unnest(bound).column_valued("each")


def of_records(dialect: str, column: Column[str]) -> tuple[ColumnElement[bool], ...]:
    """Which rows are about some records of a source, by the column of their keys; for a statement made once."""
    return (*of_source(column.table), among_named(dialect, column, "of_records"))


def of_source(table: Table) -> tuple[ColumnElement[bool], ...]:
    """Which rows are of the source that ``records`` names."""
    return table.c.tenant == bindparam("of_tenant"), table.c.source == bindparam("of_source")


def records(dialect: str, tenant: str, source: str, keys: Iterable[str]) -> dict[str, Any]:
    """The values of ``of_records``."""
    return {"of_tenant": tenant, "of_source": source, "of_records": listed(dialect, keys)}


def listed(dialect: str, keys: Iterable[str]) -> str | list[str]:
    """Texts as one bound value."""
    return encode(list(keys)).decode() if dialect == "sqlite" else list(keys)


def each(dialect: str, column: Column[bytes]) -> TableValuedAlias:
    """The texts of a column that holds a JSON list of them, as rows to be joined: ``value``."""
    if dialect == "sqlite":
        return func.json_each(cast(column, Text)).table_valued("value")
    texts = func.convert_from(column, literal_column("'UTF8'"))
    return func.jsonb_array_elements_text(cast(texts, postgresql.JSONB)).table_valued("value")


def _list_type(dialect: str) -> Text | ARRAY[str]:
    return Text() if dialect == "sqlite" else ARRAY(Text)


def _among(dialect: str, column: ColumnElement[str], bound: ColumnElement[Any]) -> ColumnElement[bool]:
    if dialect == "sqlite":
        return column.in_(select(_each_of(bound)))
    return column == any_(bound)


def _each_of(bound: ColumnElement[Any]) -> ColumnElement[str]:
    """SQLite: a row for each text of a JSON list."""
    return func.json_each(bound).table_valued("value").c.value


def insert_for(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    """The dialect's own insert, which knows ON CONFLICT."""
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)


def insert_new(dialect: str, table: Table) -> Insert:
    """Insert; a row that exists is left as it is."""
    return insert_for(dialect, table).on_conflict_do_nothing()


def upsert(dialect: str, table: Table, *columns: str) -> Insert:
    """Insert, or replace these columns of the row with the same primary key."""
    statement = insert_for(dialect, table)
    changes: Mapping[str, Any] = {name: statement.excluded[name] for name in columns}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changes)
