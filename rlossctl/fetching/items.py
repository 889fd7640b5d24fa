"""What can be fetched: the files of the data sets, and weights."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from rlossctl.data.sets.registry import Download, data_sets
from rlossctl.errors import UsageError
from rlossctl.fetching.weights import RELEASED, WEIGHTS


class Item(NamedTuple):
    """A file to fetch, and the data set that it belongs to; "" for weights."""

    download: Download
    data_set: str


def items() -> dict[str, Item]:
    """All items by name, data set by data set."""
    found = [Item(one, entry.name) for entry in data_sets().values() for one in entry.downloads]
    return {item.download.item: item for item in (*found, *(Item(one, "") for one in WEIGHTS))}


def chosen(names: Sequence[str]) -> list[Item]:
    """The items with these names. A data set's name stands for its files, except those that are extra.

    Raises:
        UsageError: there is neither such an item nor such a data set.
    """
    known, sets = items(), data_sets()
    wanted: dict[str, Item] = {}
    for name in names:
        if name in sets and sets[name].downloads:
            of_set = [one.item for one in sets[name].downloads if not one.extra]
        elif name in known:
            of_set = [name]
        else:
            near = difflib.get_close_matches(name, [*known, *sets], 3)
            raise UsageError(
                "there is nothing to fetch with this name",
                found=name,
                expected="an item or a data set",
                advice=f"did you mean {' or '.join(near)}?" if near else "rlossctl fetch --list shows all",
            )
        wanted |= {item: known[item] for item in of_set}
    return list(wanted.values())


def table() -> Iterator[str]:
    """A line for each item: name, what it is, size, checksum, where it comes from."""
    rows = [("name", "what", "size", "checksum", "from")]
    for name, (download, data_set) in items().items():
        what = f"{data_sets()[data_set].title}: {download.what}" if data_set else download.what
        rows.append((name, what, _size(download), _checksum(download), _hosts(download)))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield f"the paper's trained models: by hand from {RELEASED}"


def details(item: Item) -> Iterator[str]:
    """Everything about an item."""
    download = item.download
    yield f"{download.item}: {download.what}"
    yield f"  file      {download.file}"
    if download.size:
        yield f"  size      {download.size:,} bytes"
    yield f"  checksum  {_checksum(download)} {download.sha256 or download.md5}".rstrip()
    for address in download.addresses or ("nowhere without an account: fetch it by hand, then --mirror DIR",):
        yield f"  from      {address}"
    if download.terms:
        yield f"  terms     {download.terms}"


def _size(download: Download) -> str:
    return f"{download.size / 1e9:.1f} GB" if download.size else "-"


def _checksum(download: Download) -> str:
    if download.sha256:
        return "SHA-256" if len(download.sha256) == 64 else f"SHA-256, {len(download.sha256)} digits"
    return "MD5" if download.md5 else "not known"


def _hosts(download: Download) -> str:
    hosts = list(dict.fromkeys(urlsplit(address).hostname or "" for address in download.addresses))
    more = f" and {len(hosts) - 1} more" if len(hosts) > 1 else ""
    return f"{hosts[0]}{more}" if hosts else "by hand"
