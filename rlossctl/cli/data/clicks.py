"""`rlossctl data clicks`: label images from clicks in JSON."""

from __future__ import annotations

import click

from rlossctl.cli import groups
from rlossctl.cli.data import shared

EPILOG = """\b
Examples:
  # What's the Point: clicks on objects, and on the background
  rlossctl data clicks voc_whats_the_point.json voc_whats_the_point_bg_from_scribbles.json \\
      --images VOC2012/JPEGImages --classes voc -o VOC2012/clicks --root VOC2012 --list train_clicks.txt
"""


@groups.command("clicks", epilog=EPILOG)
@click.argument("files", nargs=-1, required=True)
@groups.option_group(
    "Annotations",
    click.option("--images", required=True, metavar="DIR", help="The photos, NAME.jpg or NAME.png."),
    shared.classes,
    click.option(
        "--cityscapes", is_flag=True, help="The ids are Cityscapes' own: turn them into training ids."
    ),
    shared.strict,
    shared.width,
)
@groups.option_group("Output", shared.out, shared.list_file, shared.root)
def clicks(
    files: tuple[str, ...],
    out: str,
    images: str,
    classes: str | None,
    width: int,
    cityscapes: bool,
    strict: bool,
    root: str,
    list_file: str | None,
) -> None:
    """Draw the clicks in JSON FILES as dots into label images.

    A file is {"ID": [{"x": column, "y": row, "cls": id}, ...], ...}. If several files name an image, it gets
    all their clicks; later clicks cover earlier ones. DIR/ID.png has one channel, 255 for unlabelled pixels.
    """
    from rlossctl.data.classes import CITYSCAPES_IDS
    from rlossctl.data.sets.names import class_names
    from rlossctl.data.weak.annotations import read_clicks
    from rlossctl.data.weak.folders import label_list
    from rlossctl.data.weak.from_annotations import write_annotations

    names = class_names(classes)
    count = len(CITYSCAPES_IDS) if cityscapes else len(names) if names else None
    annotations = read_clicks(files, count, cityscapes)
    summary = write_annotations(annotations, out, photos=images, width=width, strict=strict)
    shared.say_imported(summary, out)
    shared.write_list(list_file, label_list(summary.labels, out, root) if list_file else None)
