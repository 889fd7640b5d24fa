"""`rlossctl data`: parses, and hands over to rlossctl.data."""

from __future__ import annotations

import click

EPILOG = """\b
Examples:
  # every mask of a folder
  rlossctl data scribble CamVid/SegmentationClass scribbles
\b
  # the masks that a list names, and a training list that names the scribbles in their place
  rlossctl data scribble CamVid/train.txt scribbles --root CamVid --list train_scribble.txt
\b
  # VOC ids, wider strokes, less of them
  rlossctl data scribble VOC2012/ImageSets/Segmentation/train.txt scribbles --root VOC2012 \\
      --width 5 --coverage 0.02
"""


@click.group("data")
def command() -> None:
    """Prepare data: scribbles from masks."""


@command.command("scribble", epilog=EPILOG)
@click.argument("masks")
@click.argument("out", type=click.Path(file_okay=False))
@click.option(
    "--root", default="", metavar="DIR", help="Folder of the names in a list.  [default: as they stand]"
)
@click.option(
    "--coverage",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.03,
    show_default=True,
    help="Share of the pixels that get a label.",
)
@click.option(
    "--width", type=click.IntRange(1, 99), default=3, show_default=True, help="Stroke width in pixels."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed draws other strokes.")
@click.option(
    "--ignore",
    type=click.IntRange(0, 255),
    default=255,
    show_default=True,
    help="Id in the masks that gets no scribble.",
)
@click.option("--list", "list_file", metavar="FILE", help="Also write a list of `image scribble` lines.")
def scribble(
    masks: str,
    out: str,
    root: str,
    coverage: float,
    width: int,
    seed: int,
    ignore: int,
    list_file: str | None,
) -> None:
    """Make scribbles from the full masks in MASKS and write them to the folder OUT.

    MASKS is a folder of PNG masks, or a list: lines of `image mask`, masks alone, or VOC ids. Every region
    of every class gets a thin stroke along its middle. OUT/NAME.png has one channel of class ids with 255
    for unlabelled pixels, ready for ImageSegData with label_type PIXEL.
    """
    from rlossctl.data.lists import write_lines
    from rlossctl.data.prepare import find_masks, scribble_list, scribble_masks

    found = find_masks(masks, root)
    lines, folder = scribble_list(found, out, root) if list_file is not None else ([], "")
    summary = scribble_masks(found, out, coverage=coverage, width=width, seed=seed, ignore=ignore)
    click.echo(f"{summary.files} scribbles in {out}, {summary.coverage:.2%} of the pixels labelled")
    if list_file is not None:
        write_lines(list_file, lines)
        click.echo(f'list {list_file}, for root_folder: "{folder}"')
