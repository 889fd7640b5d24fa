"""What was laid out, beside what is published, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rlossctl.data.sets.laying_out import Prepared
from rlossctl.data.sets.registry import DataSet
from rlossctl.words import counted


def differences(entry: DataSet, done: Prepared) -> str:
    """A warning that names the lists whose length is not the published one; "" if there are none."""
    differing = [
        f"{name} {count:,} of {published:,}"
        for name, count, published in _compared(entry, done)
        if count and published is not None and published != count
    ]
    return f"warning: not the published number of lines: {', '.join(differing)}" if differing else ""


def told(entry: DataSet, done: Prepared, out: Path) -> Iterator[str]:
    """The folders and lists with their numbers, notes, and the placeholders for prototxts."""
    yield f"{entry.title}, {counted(len(entry.classes), 'class', 'classes')}, in {out}"
    yield from _table(entry, done)
    for note in done.notes:
        yield f"note: {note}"
    yield f"placeholders of the prototxts: {entry.placeholders.format(out=out)}"


def _compared(entry: DataSet, done: Prepared) -> Iterator[tuple[str, int, int | None]]:
    """Each list that was written or is known, with its lines (0: not written) and their published number."""
    for name in dict.fromkeys((*done.lists, *entry.published)):
        yield name, done.lists.get(name, 0), entry.published.get(name)


def _table(entry: DataSet, done: Prepared) -> Iterator[str]:
    rows = [("folder", "files", "")]
    rows += [(name, f"{count:,}", "") for name, count in done.files.items()]
    rows.append(("list", "lines", "published"))
    for name, count, published in _compared(entry, done):
        rows.append((name, f"{count:,}" if count else "-", "" if published is None else f"{published:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, lines, known in rows:
        yield f"{name:<{widths[0]}}  {lines:>{widths[1]}}  {known:>{widths[2]}}".rstrip()
