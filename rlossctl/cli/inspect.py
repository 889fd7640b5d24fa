"""`rlossctl inspect`: what is in a prototxt, a solver or a caffemodel."""

from __future__ import annotations

from pathlib import Path

import click

from rlossctl.cli import options


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@options.placeholders
@click.option(
    "--phase",
    type=click.Choice(["TRAIN", "TEST"], case_sensitive=False),
    help="Of a net. [default: TEST if it has data then, else TRAIN]",
)
@options.dialect
@options.python_layers
@options.image_shape
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    file: Path,
    settings: dict[str, str],
    phase: str | None,
    dialect: str,
    image_shape: tuple[int, int, int] | None,
    as_json: bool,
) -> None:
    """Show a net's layers, a solver's schedule, or a caffemodel's blobs.

    For a net: shapes, parameters, multiply-adds, memory and receptive field, without allocating a weight.
    Placeholders of a net that are not set are named in the error.

    \b
    Examples:
      rlossctl inspect train.prototxt --set NUM_LABELS=21 --set EXP=voc --phase TRAIN
      rlossctl inspect segnet_train.prototxt --image-shape 3,360,480
      rlossctl inspect solver.prototxt --json
      rlossctl inspect train_iter_9000.caffemodel
    """
    from rlossctl import inspection

    report = inspection.inspect(file, settings, phase.upper() if phase else None, dialect, image_shape)
    if as_json:
        options.write_json("-", report.as_dict())
    else:
        click.echo(report.as_text())
