"""Reading an LMDB database (format 1) without its library, which crashes on a damaged or truncated file.

A database is a B+ tree of pages, sorted by key. A page starts with 16 bytes: its number, two bytes that do
not count, flags, and the ends of its list of nodes and of its free space. The nodes' places follow, as 16-bit
offsets. A node has its size (or the page below it), flags, the key's length, the key, and in a leaf the
value or, if that is large, the page where it starts (mdb.c of OpenLDAP's LMDB).
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

from rlossctl.errors import DataError
from rlossctl.files import require_regular

_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4  # flags of a page
_BIG = 1  # flag of a node: its value is on pages of its own
_PAGE, _NODE = 16, 8  # sizes of their headers
_META = struct.Struct("<IIQQ IHHQQQQQ IHHQQQQQ QQ")  # after a page's header
_DEEPEST = 32  # pages from the root to a leaf, LMDB's own limit


class _Place(NamedTuple):
    """A node of a page."""

    page: int
    node: int


class Lmdb:
    """A database, and a cursor in it.

    Args:
        path: its folder, or the file.

    Attributes:
        entries: how many there are, as the database says.

    Raises:
        DataError: the file is missing, truncated, damaged, or of another format.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)
        self._file = _opened(Path(path) / "data.mdb" if Path(path).is_dir() else Path(path))
        meta = max((self._meta(number) for number in (0, 1)), key=lambda one: one[-1])
        self._root, self.entries = meta[-3], meta[-4]
        self._trail: list[_Place] = []  # from the root to the cursor's node

    def first(self) -> None:
        """Moves the cursor to the first entry."""
        self._trail = []
        self._descend(self._root, last=False)

    def move(self, step: int) -> None:
        """Moves the cursor to the next entry (1) or to the one before (-1)."""
        while self._trail:
            page, index = self._trail.pop()
            if 0 <= index + step < self._count(page):
                self._trail.append(_Place(page, index + step))
                if self._flags(page) & _BRANCH:
                    self._descend(self._below(self._trail[-1]), last=step < 0)
                return
        raise self.damaged(f"fewer entries than the {self.entries} that it states")

    def item(self) -> tuple[bytes, bytes]:
        """Key and value at the cursor."""
        place = self._trail[-1]
        start, low, high, flags, length = self._node(place)
        key = self._bytes(start + _NODE, length)
        value, size = start + _NODE + length, low | high << 16
        if flags & _BIG:
            (page,) = self._unpack("<Q", value)
            if not self._flags(page) & _OVERFLOW:
                raise self.damaged(f"page {page} does not hold a value")
            value = page * self._size + _PAGE
        return key, self._bytes(value, size)

    def damaged(self, found: str) -> DataError:
        """The error for a file that is not what it should be."""
        return DataError(
            "the database is damaged",
            where=self.path,
            found=found,
            expected="an LMDB, whole, as convert_imageset writes it",
            advice="copy it again, or write it again",
        )

    def _descend(self, page: int, last: bool) -> None:
        """Adds the way from a page to its first or last entry."""
        while True:
            count = self._count(page)
            if not count or len(self._trail) >= _DEEPEST:
                raise self.damaged(f"page {page} has no entries" if not count else "pages in a circle")
            self._trail.append(_Place(page, count - 1 if last else 0))
            if not self._flags(page) & _BRANCH:
                return
            page = self._below(self._trail[-1])

    def _meta(self, number: int) -> tuple[int, ...]:
        """A meta page's fields, and the size of pages, which the first one states."""
        if number == 0:
            self._size = 4096
            (self._size,) = self._unpack("<I", _PAGE + 24)
            if self._size < 512 or self._size & (self._size - 1):
                raise self.damaged(f"pages of {self._size} bytes")
        start = number * self._size + _PAGE
        if self._unpack("<II", start) != (_MAGIC, _VERSION):
            raise self.damaged("no LMDB of format 1 (its first bytes differ)")
        meta: tuple[int, ...] = _META.unpack(self._bytes(start, _META.size))
        return meta

    def _flags(self, page: int) -> int:
        (flags,) = self._unpack("<H", page * self._size + 10)
        if not flags & (_BRANCH | _LEAF | _OVERFLOW):
            raise self.damaged(f"page {page} is neither a branch nor a leaf")
        return int(flags)

    def _count(self, page: int) -> int:
        if self._flags(page) & _OVERFLOW:
            raise self.damaged(f"page {page} is neither a branch nor a leaf")
        (lower,) = self._unpack("<H", page * self._size + 12)
        return min(max(int(lower) - _PAGE, 0), self._size - _PAGE) // 2

    def _node(self, place: _Place) -> tuple[int, int, int, int, int]:
        """Where a node starts, the halves of its size, its flags, and its key's length."""
        start = place.page * self._size
        (offset,) = self._unpack("<H", start + _PAGE + 2 * place.node)
        low, high, flags, length = self._unpack("<HHHH", start + offset)
        return start + offset, low, high, flags, length

    def _below(self, place: _Place) -> int:
        _, low, high, flags, _ = self._node(place)
        return low | high << 16 | flags << 32

    def _unpack(self, form: str, start: int) -> tuple[int, ...]:
        values: tuple[int, ...] = struct.unpack(form, self._bytes(start, struct.calcsize(form)))
        return values

    def _bytes(self, start: int, length: int) -> bytes:
        if start + length > len(self._file):
            raise self.damaged(f"the file ends at byte {len(self._file):,}, before its last entry")
        return self._file[start : start + length]


def _opened(path: Path) -> mmap.mmap:
    try:
        require_regular(path)
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # a ValueError: the file is empty
        raise DataError(
            "the database cannot be opened",
            where=path,
            found=getattr(error, "strerror", None) or str(error),
            expected="the folder of an LMDB, with data.mdb in it",
            advice="correct data_param.source, or name another one (--data)",
        ) from error
