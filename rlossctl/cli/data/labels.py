"""`rlossctl data labels`: label images from other programs' annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rlossctl.cli import groups, options
from rlossctl.cli.data import shared
from rlossctl.words import counted

if TYPE_CHECKING:
    from rlossctl.data.labelling.importing import Imported
    from rlossctl.data.palette import Palette

EPILOG = """\b
Examples:
  # labelme's files beside the photos; the ids follow the list of names
  rlossctl data labels photos -o labels --classes names.txt --images photos --list train.txt
\b
  # one file of COCO or CVAT for all photos; ids from the file, which classes.txt names
  rlossctl data labels instances_val.json -o labels
\b
  # colour-coded PNGs; colours that the palette lacks do not count
  rlossctl data labels masks -o labels --palette labelmap.txt --map other=255
\b
  # masks of 0 and 255; ADE20K's ids; Cityscapes' own ids
  rlossctl data labels masks -o labels --map 0/255
  rlossctl data labels annotations -o labels --map reduce-zero
  rlossctl data labels gtFine -o labels --map cityscapes
\b
Read are JSON of labelme, COCO (polygons and run lengths), Supervisely and Cityscapes, CVAT's XML (for
images 1.1), and pictures of ids or colours (PNG, TIFF, BMP; 8 or 16 bits). SOURCES are files, folders and
archives; if there are JSON or XML files, pictures are left alone.
"""


def _map(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    from rlossctl.data.labelling.idmaps import IdMap, parse_map

    return IdMap() if value is None else parse_map(value)


@groups.command("labels", epilog=EPILOG)
@click.argument("sources", nargs=-1, required=True)
@groups.option_group(
    "Annotations",
    shared.classes,
    options.palette("Colours of the classes in colour-coded pictures", "none"),
    click.option(
        "--map",
        "ids",
        metavar="FROM=TO,...",
        callback=_map,
        help="Change ids, or give names ids; a file of such lines; or cityscapes, reduce-zero, 0/255. "
        "other=ID takes what is not named.",
    ),
    click.option(
        "--background",
        type=click.IntRange(0, 255),
        metavar="ID",
        help="Id of pixels without a shape.  [default: 0 if class 0 is a background and nothing is a line or "
        "dot, else 255]",
    ),
    shared.width,
    click.option("--images", metavar="DIR", help="The photos, to check sizes and for --list."),
)
@groups.option_group("Output", shared.out, shared.list_file, shared.root)
def labels(
    sources: tuple[str, ...],
    out: str,
    classes: str | None,
    palette: Palette | None,
    ids: Any,
    background: int | None,
    width: int,
    images: str | None,
    root: str,
    list_file: str | None,
) -> None:
    """Turn annotations of other programs into label images.

    DIR/NAME.png has one channel of class ids, 255 for pixels that do not count. Later shapes cover earlier
    ones. A pixel belongs to a polygon if its centre lies inside.
    """
    from rlossctl.data.labelling.importing import Options, import_labels
    from rlossctl.data.sets.names import class_names
    from rlossctl.data.weak.folders import label_list

    chosen = Options(class_names(classes), ids, palette, background, width, images)
    done = import_labels(sources, out, chosen)
    _say(done, out)
    shared.write_list(list_file, label_list(done.labels, out, root) if list_file else None)


def _say(done: Imported, out: str) -> None:
    from rlossctl.files import atomic_write

    kinds = ", ".join(f"{name}: {counted(count, 'file')}" for name, count in done.kinds.items())
    click.echo(f"{counted(len(done.labels), 'label')} in {out} ({kinds})")
    if done.background is not None:
        click.echo(f"pixels without a shape: {done.background}")
    total = max(1, int(done.pixels.sum()))
    for label, count in enumerate(done.pixels.tolist()):
        if count:
            click.echo(f"{label:>5}  {count / total:>8.2%}  {done.classes.get(label, '')}".rstrip())
    if done.classes:
        with atomic_write(f"{out}/classes.txt") as file:
            file.write("".join(f"{done.classes[label]}\n" for label in sorted(done.classes)).encode())
        click.echo(f"ids are those of {out}/classes.txt, in the order of its lines")
