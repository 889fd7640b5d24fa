"""`rlossctl data verify`: finds everything that is wrong with a data set."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from rlossctl.cli import groups, options
from rlossctl.cli.data import shared

EPILOG = """\b
Examples:
  rlossctl data verify CamVid/train.txt CamVid/val.txt --root CamVid --classes camvid
  rlossctl data verify train_scribble.txt --root VOC2012 --classes voc --sheet scribbles.png
"""


@groups.command("verify", epilog=EPILOG)
@click.argument("lists", nargs=-1, required=True, metavar="LIST...")
@groups.option_group(
    "Data",
    shared.root,
    shared.label_dir,
    shared.classes,
    click.option(
        "--num-classes", type=click.IntRange(1, 255), help="Instead of --classes: the number of classes."
    ),
    shared.ignore,
)
@groups.option_group(
    "Output",
    shared.json_file,
    click.option("--sheet", metavar="FILE", help="Write a PNG with photos beside their labels."),
    click.option(
        "--sheet-images",
        type=click.IntRange(1, 200),
        default=16,
        show_default=True,
        help="Photos that the sheet shows.",
    ),
)
def verify(
    lists: tuple[str, ...],
    root: str,
    label_dir: str | None,
    classes: str | None,
    num_classes: int | None,
    ignore: int,
    sheet: str | None,
    sheet_images: int,
    json_file: str | None,
) -> None:
    """Read every photo and label that the LISTs name, and say what is wrong.

    Missing or damaged files, sizes that differ, ids out of range (with --classes or --num-classes), labels
    without a labelled pixel, and identical photos in two lists are faults: the exit status is 1. Palettes,
    rotations in EXIF data and repeated lines are only noted.
    """
    from rlossctl.data.checking import checks as room
    from rlossctl.data.drawing import save_sheet
    from rlossctl.data.lists import find_label_dir, read_list
    from rlossctl.data.sets.names import class_names

    names = class_names(classes)
    samples = {
        name: read_list(name, root, label_dir=label_dir or find_label_dir(name, root)) for name in lists
    }
    count = len(names) if names else num_classes
    found = room.verify(samples, num_classes=count, names=names, ignore=ignore)
    if json_file:
        options.write_json(json_file, {"clean": found.clean, "findings": [asdict(f) for f in found.findings]})
    if json_file != "-":
        click.echo(room.format_verification(found))
    if sheet:
        good = [samples[name][index] for name, report in found.lists.items() for index in report.good]
        save_sheet(sheet, good, sheet_images, ignore)
        click.echo(f"sheet {sheet}", err=json_file == "-")
    sys.exit(0 if found.clean else 1)
