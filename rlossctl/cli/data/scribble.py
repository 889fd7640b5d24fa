"""`rlossctl data scribble`: weak labels from full masks."""

from __future__ import annotations

import click

from rlossctl.cli import groups
from rlossctl.cli.data import shared

EPILOG = """\b
Examples:
  # every mask in a folder
  rlossctl data scribble CamVid/SegmentationClass scribbles
\b
  # the masks that a list names, and a training list that names the scribbles instead
  rlossctl data scribble CamVid/train.txt scribbles --root CamVid --list train_scribble.txt
\b
  # VOC ids, with wider and fewer strokes
  rlossctl data scribble VOC2012/ImageSets/Segmentation/train.txt scribbles --root VOC2012 \\
      --width 5 --coverage 0.02
\b
  # one click per region
  rlossctl data scribble CamVid/train.txt clicks --root CamVid --kind clicks --list train_clicks.txt
"""


@groups.command("scribble", epilog=EPILOG)
@click.argument("masks")
@click.argument("out", type=click.Path(file_okay=False))
@shared.root
@click.option(
    "--kind",
    type=click.Choice(["strokes", "skeleton", "clicks", "boxes"]),
    default="strokes",
    show_default=True,
    help="Strokes like hand-drawn ones, thinned regions, or one click or box per region.",
)
@click.option(
    "--coverage",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the pixels that get a label.  [default: 0.03 for strokes, the whole skeleton]",
)
@shared.width
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed draws different strokes.")
@click.option(
    "--ignore",
    type=click.IntRange(0, 255),
    default=255,
    show_default=True,
    help="Id in the masks that gets no scribble.",
)
@shared.list_file
def scribble(
    masks: str,
    out: str,
    root: str,
    kind: str,
    coverage: float | None,
    width: int,
    seed: int,
    ignore: int,
    list_file: str | None,
) -> None:
    """Make scribbles, clicks or boxes from the full masks in MASKS, and write them to the folder OUT.

    MASKS is a folder of PNG masks, or a list: lines of `image mask`, masks alone, or VOC ids. OUT/NAME.png
    has one channel of class ids, with 255 for unlabelled pixels. ImageSegData reads it with label_type PIXEL.

    A stroke runs along the middle of every region of every class, background included. Boxes enclose the
    regions of the classes above 0; pixels outside all boxes are 0, background.
    """
    from rlossctl.data.weak.folders import find_masks, label_list, write_weak_labels

    found = find_masks(masks, root)
    listed = label_list(found, out, root) if list_file is not None else None
    summary = write_weak_labels(
        found, out, kind=kind, coverage=coverage, width=width, seed=seed, ignore=ignore
    )
    what = "scribbles" if kind == "strokes" else f"labels of kind {kind}"
    click.echo(f"{summary.files:,} {what} in {out}, {summary.coverage:.2%} of the pixels labelled")
    shared.write_list(list_file, listed)
