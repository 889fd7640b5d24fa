"""`rlossctl data preview`: a sheet of what a net's data layer gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from rlossctl.cli import groups, options

EPILOG = """\b
Examples:
  rlossctl data preview camvid/train --set DATA_ROOT=CamVid/ --set TRAIN_LIST=CamVid/train.txt \\
      --classes camvid -o sheet.png
  rlossctl data preview train.prototxt --set NUM_LABELS=21 --set EXP=voc --data train.txt --root VOC2012 \\
      --classes voc --photos 2 --draws 6 -o sheet.png
"""


@groups.command("preview", epilog=EPILOG)
@click.argument("net")
@groups.option_group("Net", options.placeholders, options.dialect)
@groups.option_group(
    "Data",
    click.option("--data", metavar="LIST", help="List file, instead of the data layer's source."),
    click.option("--root", metavar="DIR", help="Folder of the list's names, instead of root_folder."),
    click.option(
        "--phase",
        type=click.Choice(["train", "test"]),
        default="train",
        show_default=True,
        help="Whose data layer to show.",
    ),
    click.option(
        "--seed", type=int, default=0, show_default=True, help="As random_seed of the training to look at."
    ),
)
@groups.option_group(
    "Sheet",
    click.option(
        "--out", "-o", required=True, type=click.Path(dir_okay=False), metavar="FILE", help="PNG to write."
    ),
    click.option(
        "--photos",
        "--count",
        type=click.IntRange(1, 100),
        default=4,
        show_default=True,
        help="Rows: the photos that the training reads first.",
    ),
    click.option(
        "--draws",
        type=click.IntRange(1, 12),
        default=4,
        show_default=True,
        help="Columns: the photo as so many epochs show it.",
    ),
    options.classes("Names of the legend"),
    options.palette("Colours of the classes", "VOC's"),
)
@options.unread_paths(replaced={"data": "source", "root": "root_folder"}, always=["/name"])
def preview(
    net: str,
    placeholders: Mapping[str, object],
    dialect: str,
    data: str | None,
    root: str | None,
    phase: str,
    seed: int,
    out: str,
    photos: int,
    draws: int,
    classes: str | None,
    palette: Any,
) -> None:
    """Draw what NET's data layer gives: photos as the net gets them, with the supervision over them.

    NET is a prototxt or the name of a net (`camvid/train`). The mean is added back; squares mark what lies
    outside of a photo. No other layer is built, and no weights are needed.
    """
    from rlossctl.data.sets.names import class_names
    from rlossctl.net import DataOverrides, NetOrigin
    from rlossctl.preview import Choice, save_preview

    shown = save_preview(
        NetOrigin(net, None, placeholders, dialect),
        out,
        Choice(phase.upper(), seed, photos, draws),
        data=DataOverrides(data, root),
        names=class_names(classes) or (),
        colours=palette.table if palette else None,
    )
    click.echo(f"sheet {out}: {shown}")
