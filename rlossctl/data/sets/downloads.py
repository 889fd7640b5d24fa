"""Prints every data set's downloads for `scripts/fetch_data.sh`, one per line:

item|file|SHA-256, or - if none is known|addresses|data set|folder
"""

from __future__ import annotations

from collections.abc import Iterator

from rlossctl.data.sets.registry import data_sets


def lines() -> Iterator[str]:
    """The lines, data set by data set; the file with the photos comes first."""
    for entry in data_sets().values():
        for one in entry.downloads:
            addresses = " ".join(one.addresses)
            yield "|".join((one.item, one.file, one.sha256 or "-", addresses, entry.name, entry.folder))


if __name__ == "__main__":
    print("\n".join(lines()))
