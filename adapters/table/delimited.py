"""From a file's bytes to rows of text: encoding, delimiter, quoting (contract tables B). Streams; no meaning yet."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import TextIO

from adapters.table.grid import Grid, Line, unreadable
from bridge.errors import Drift, Unavailable
from bridge.frozen import frozen

_CHUNK = 1 << 18
_SAMPLE = 1 << 16  # characters looked at to find the delimiter
_SAMPLE_ROWS = 50
_DELIMITERS = (";", ",", "\t", "|")
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_SEP_LINE = re.compile(r'\ufeff?"?sep=(.)"?\r?\n?', re.I)
_CYRILLIC = re.compile(r"[А-Яа-яЁё]")
_FOREIGN = re.compile(r"[^\x00-\x7f\u00a0«»“”„’—–…№°]")
_LINES_MAX = 200  # physical lines of one record; a quote still open after so many was never meant to be one


@frozen
class Layout:
    """How a file is written. ``stamp`` changes when the file does."""

    path: Path
    encoding: str
    delimiter: str
    has_sep_line: bool
    stamp: tuple[int, int, int]


def open_text(path: Path, encoding: str = "auto", delimiter: str = "auto") -> Grid:
    """A file of delimited text as a grid. Raises as ``inspect`` does; its lines raise as ``lines`` do."""
    layout = inspect(path, encoding, delimiter)
    mark = {"\t": "tab"}.get(layout.delimiter, layout.delimiter)
    return Grid(path.name, f"{layout.encoding}, delimiter {mark}", repr(layout.stamp), partial(lines, layout))


def inspect(path: Path, encoding: str = "auto", delimiter: str = "auto") -> Layout:
    """Find out how a file is written.

    Raises:
        Unavailable: it cannot be read now.
        Drift: the encoding cannot be found, or is not the one that is set.
    """
    with _readable(path):
        status = path.stat()
        found = _encoding(path) if encoding == "auto" else encoding
        with open(path, encoding=found, newline="") as file:
            sample = file.read(_SAMPLE)
    sep_line = _SEP_LINE.match(sample)
    if delimiter == "auto":
        delimiter = sep_line[1] if sep_line else _delimiter(sample)
    stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
    return Layout(path, found, delimiter, sep_line is not None, stamp)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeError:
        raise Drift(
            f"table {path.name} is not in the expected encoding; set encoding to what it was saved in"
        ) from None
    except OSError as error:
        raise unreadable(path, error) from None


def _encoding(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(4)
    for bom, name in _BOMS:
        if head.startswith(bom):
            return name
    return "utf-8" if _is_utf8(path) else _single_byte(path)


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open(path, "rb") as file:
        try:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _single_byte(path: Path) -> str:
    """cp1251, if what is not ASCII then reads as Russian; koi8-r and MacCyrillic only by explicit option."""
    with open(path, "rb") as file:
        sample = file.read(_CHUNK).decode("cp1251", "replace")
    foreign = len(_FOREIGN.findall(sample))
    letters = _CYRILLIC.findall(sample)
    # A wrong code page turns Russian into capitals inside words, or into other signs.
    shouted = len(re.findall(r"[а-яё][А-ЯЁ]", sample))
    if len(letters) < 0.95 * foreign or shouted > 0.05 * len(letters):
        raise Drift(f"table {path.name} is neither UTF-8 nor cp1251; set encoding to what it was saved in")
    return "cp1251"


def _delimiter(sample: str) -> str:
    """The one by which most of the first records have as many cells as the header; of equals, the more cells."""
    return max(_DELIMITERS, key=lambda mark: _consistency(sample, mark))


def _consistency(sample: str, mark: str) -> tuple[float, int]:
    try:
        rows = list(islice(csv.reader(io.StringIO(sample), delimiter=mark), _SAMPLE_ROWS))
    except csv.Error:
        return (0.0, 0)
    widths = [len(row) for row in rows if row]
    if len(sample) == _SAMPLE and len(widths) > 1:
        widths.pop()  # it may have been cut
    if not widths or widths[0] == 1:
        return (0.0, 0)
    return (widths.count(widths[0]) / len(widths), widths[0])


def lines(layout: Layout) -> Generator[Line, None, None]:
    """Every record of the file, blank ones too, one at a time.

    Raises:
        Unavailable: the file cannot be read, or changed while it was read.
        Drift: it is not in its encoding.
    """
    with _readable(layout.path):
        with open(layout.path, encoding=layout.encoding, newline="") as file:
            if layout.has_sep_line:
                file.readline()
            yield from _records(file, layout.delimiter)
        status = layout.path.stat()
    if (status.st_mtime_ns, status.st_size, status.st_ino) != layout.stamp:
        raise Unavailable(f"table {layout.path.name} changed while it was read; it is read again next time")


class _Feed:
    """Hands physical lines to the CSV reader, remembers those of the current record, can take them back.

    ``ran_out``: the reader asked for more than there is, inside a record; so its quote was never closed.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._returned: list[str] = []
        self._taken: list[str] = []
        self.ran_out = False

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._next_line()
        if line is None:
            self.ran_out = bool(self._taken)
            raise StopIteration
        self._taken.append(line)
        return line

    def _next_line(self) -> str | None:
        if len(self._taken) >= _LINES_MAX:
            return None
        return self._returned.pop() if self._returned else next(self._file, None)

    def start_record(self) -> None:
        self._taken.clear()
        self.ran_out = False

    def keep_only_first(self) -> None:
        """What followed the first line of this record will be read as records of their own."""
        self._returned.extend(reversed(self._taken[1:]))


def _records(file: TextIO, delimiter: str) -> Iterator[Line]:
    feed = _Feed(file)
    reader = csv.reader(feed, delimiter=delimiter)
    for number in count(1):
        feed.start_record()
        try:
            cells = next(reader, None)
            is_broken = feed.ran_out
        except csv.Error:  # a field beyond csv.field_size_limit: an open quote, or no table at all
            cells, is_broken = [], True
        if cells is None:
            return
        if is_broken:
            feed.keep_only_first()
        yield Line(number, [] if is_broken else cells, is_broken)
