"""`rlossctl inspect`: what is in a file of any format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from rlossctl.cli import groups, options


@groups.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@groups.option_group(
    "Net",
    options.placeholders,
    click.option(
        "--phase",
        type=click.Choice(["TRAIN", "TEST"], case_sensitive=False),
        help="Phase of a net.  [default: TEST if it has data there, else TRAIN]",
    ),
    options.dialect,
    options.python_layers,
    options.image_shape,
)
@groups.option_group(
    "Output",
    click.option(
        "--draw",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Draw the net: as a page to look into (.html), or as SVG.",
    ),
    click.option(
        "--weights",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="With --draw page.html: also histograms of these weights.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)
def command(
    file: Path,
    placeholders: Mapping[str, object],
    phase: str | None,
    dialect: str,
    image_shape: tuple[int, int, int] | None,
    draw: Path | None,
    weights: Path | None,
    as_json: bool,
) -> None:
    """Show what a prototxt, caffemodel (.h5), solverstate, safetensors, PyTorch or ONNX file holds.

    For a net: shapes, parameters, multiply-adds, memory and receptive field, without allocating a weight, and
    a drawing with --draw; placeholders in names and paths may stay unset. For weights: shapes, the Caffe or
    other program that wrote them, and blobs with NaN or infinity.

    \b
    Examples:
      rlossctl inspect train.prototxt --set NUM_LABELS=21
      rlossctl inspect segnet_train.prototxt --image-shape 3,360,480
      rlossctl inspect solver.prototxt --json
      rlossctl inspect net.prototxt --draw net.svg
      rlossctl inspect net.prototxt --draw net.html --weights w.caffemodel
      rlossctl inspect train_iter_9000.caffemodel
      rlossctl inspect checkpoint.pth.tar
    """
    from rlossctl.inspection import inspect
    from rlossctl.net.origin import NetOrigin

    origin = NetOrigin(file, weights, placeholders=placeholders, dialect=dialect)
    report = inspect(origin, phase.upper() if phase else None, image_shape, draw)
    if as_json:
        options.write_json("-", report.as_dict())
    else:
        click.echo(report.as_text())
