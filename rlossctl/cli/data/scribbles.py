"""`rlossctl data scribbles`: label images from ScribbleSup's XML."""

from __future__ import annotations

import click

from rlossctl.cli import groups, options
from rlossctl.cli.data import shared

EPILOG = """\b
Examples:
  # ScribbleSup's annotations, 3 pixels wide as in the experiments
  rlossctl data scribbles scribble_annotation.zip --images VOC2012/JPEGImages -o VOC2012/scribbles
\b
  # shortened to the central half of each stroke
  rlossctl data scribbles scribble_annotation -o scribbles_50 --ratio 0.5
"""


@groups.command("scribbles", epilog=EPILOG)
@click.argument("source")
@groups.option_group(
    "Annotations",
    click.option(
        "--images",
        metavar="DIR",
        help="The photos, to check sizes. Annotations without a photo are left out.",
    ),
    options.classes("Class names in the order of their ids", default="voc"),
    shared.strict,
)
@groups.option_group(
    "Strokes",
    shared.width,
    click.option(
        "--ratio",
        type=click.FloatRange(0, 1, min_open=True),
        default=1.0,
        show_default=True,
        help="Share of each stroke's length to keep, around its middle.",
    ),
)
@groups.option_group("Output", shared.out, shared.list_file, shared.root)
def scribbles(
    source: str,
    out: str,
    images: str | None,
    classes: str,
    width: int,
    ratio: float,
    strict: bool,
    root: str,
    list_file: str | None,
) -> None:
    """Draw the scribbles of SOURCE, a folder or zip archive of ScribbleSup's XML files, into label images.

    Later strokes cover earlier ones. DIR/ID.png has one channel, with 255 for unlabelled pixels. --list needs
    --images.
    """
    from rlossctl.data.sets.names import class_names
    from rlossctl.data.weak.annotations import read_scribbles
    from rlossctl.data.weak.folders import label_list
    from rlossctl.data.weak.from_annotations import write_annotations

    annotations = read_scribbles(source, class_names(classes) or ())
    summary = write_annotations(annotations, out, photos=images, width=width, ratio=ratio, strict=strict)
    shared.say_imported(summary, out)
    shared.write_list(list_file, label_list(summary.labels, out, root) if list_file else None)
