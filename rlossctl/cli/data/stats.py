"""`rlossctl data stats`: statistics of a list's images and labels."""

from __future__ import annotations

import click

from rlossctl.cli import groups, options
from rlossctl.cli.data import shared

EPILOG = """\b
Examples:
  rlossctl data stats CamVid/train.txt --root CamVid --classes camvid
  rlossctl data stats train_scribble.txt --root VOC2012 --classes voc --json stats.json
\b
JSON keys: images, labelled (mean, min, max, images_without), classes (id, name, pixels, share, images,
median_frequency_weight, log_weight), sizes (height, width, images), mean_bgr, std_bgr. Shares are 0 to 1.
"""


@groups.command("stats", epilog=EPILOG)
@click.argument("list_name", metavar="LIST")
@shared.root
@shared.label_dir
@shared.classes
@shared.ignore
@click.option(
    "--log-weights",
    "offset",
    type=click.FloatRange(1, min_open=True),
    metavar="C",
    help="Weights 1 / ln(C + share): 1.02 in ENet and rloss for PyTorch, 1.10 in the Gated CRF program.",
)
@shared.json_file
def stats(
    list_name: str,
    root: str,
    label_dir: str | None,
    classes: str | None,
    ignore: int,
    offset: float | None,
    json_file: str | None,
) -> None:
    """Measure class frequencies, labelled shares, image sizes and the mean colour of the images in LIST.

    The printed weights follow SegNet's median frequency balancing, for class_weighting in a loss_param;
    --log-weights prints others.
    """
    from rlossctl.data.checking import stats as room
    from rlossctl.data.lists import find_label_dir, read_list
    from rlossctl.data.sets.names import class_names

    samples = read_list(list_name, root, label_dir=label_dir or find_label_dir(list_name, root))
    found = room.gather(samples, source=list_name, ignore=ignore)
    content = room.to_json(found, room.names_up_to(found, class_names(classes)), offset)
    if json_file:
        options.write_json(json_file, content)
    if json_file != "-":
        click.echo(room.format_statistics(content))
