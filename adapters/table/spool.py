"""Rows of a table on disk while it is gone through: memory holds a few of them, however long the table is.

The file has no name: it is gone when it is closed, and when the process ends in whatever way.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import msgspec

from adapters.table.grid import Line, Numeral, Priced
from bridge.errors import Unavailable

CHUNK = 1 << 18
_USUAL = 512  # bytes of a record, or less
_SIZE = struct.Struct("<I")  # of the record that follows


class _Stored(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A line. A text is a text, a number a list of its text, and of the currency it is shown in."""

    number: int
    cells: list[str | list[str]]
    is_broken: bool


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Stored)


class Spool:
    """Lines written one after another; read from the first on, as often as wanted, or each at its place.

    A short table stays in memory. Every method raises Unavailable when the disk refuses: full, or no folder for
    temporary files.
    """

    def __init__(self) -> None:
        self._file: BinaryIO | None = None
        self._size = 0  # of the file
        self._waiting = bytearray()

    def add(self, line: Line) -> int:
        """Store a line; the place it can be read at."""
        place = self._size + len(self._waiting)
        record = _ENCODER.encode(_Stored(line.number, [_packed(cell) for cell in line.cells], line.is_broken))
        self._waiting += _SIZE.pack(len(record))
        self._waiting += record
        if len(self._waiting) >= CHUNK:
            self._write()
        return place

    def at(self, place: int) -> Line:
        """The line that was stored there."""
        self._settle()
        piece = self._read(place, _USUAL)
        (size,) = _SIZE.unpack_from(piece)
        end = _SIZE.size + size
        if len(piece) < end:
            piece = self._read(place, end)
        return _line(piece[_SIZE.size : end])

    def lines(self) -> Generator[Line, None, None]:
        """All lines in the order in which they were stored."""
        self._settle()
        end = self._size + len(self._waiting)
        place, chunk = 0, b""
        while place < end:
            read = self._read(place, min(CHUNK, end - place))
            place += len(read)
            chunk = yield from _records(chunk + read)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _settle(self) -> None:
        """What is read lies in memory, or all of it in the file."""
        if self._file is not None:
            self._write()

    def _write(self) -> None:
        with _on_disk():
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by ``close``
            while self._waiting:  # a disk that is nearly full takes a part
                written = os.pwrite(self._file.fileno(), self._waiting, self._size)
                del self._waiting[:written]
                self._size += written

    def _read(self, place: int, size: int) -> bytes:
        if self._file is None:
            return bytes(self._waiting[place : place + size])
        with _on_disk():
            return os.pread(self._file.fileno(), size, place)


def _records(chunk: bytes) -> Generator[Line, None, bytes]:
    """The whole records of a piece; returns the beginning of the next one."""
    start = 0
    while len(chunk) >= start + _SIZE.size:
        (size,) = _SIZE.unpack_from(chunk, start)
        end = start + _SIZE.size + size
        if len(chunk) < end:
            break
        yield _line(chunk[start + _SIZE.size : end])
        start = end
    return chunk[start:]


def _packed(cell: str) -> str | list[str]:
    if isinstance(cell, Priced):
        return [str(cell), cell.currency]
    return [str(cell)] if isinstance(cell, Numeral) else cell


def _line(record: bytes) -> Line:
    stored = _DECODER.decode(record)
    return Line(stored.number, [_unpacked(cell) for cell in stored.cells], stored.is_broken)


def _unpacked(cell: str | Sequence[str]) -> str:
    if isinstance(cell, str):
        return cell
    number = Numeral(cell[0])
    return Priced.of(number, cell[1]) if len(cell) > 1 else number


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"a table cannot be kept on disk while it is read: {type(error).__name__}, errno {error.errno}; "
            "make room in the folder for temporary files (TMPDIR)"
        ) from None
