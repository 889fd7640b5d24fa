"""`rlossctl test`: batches of a test net, as `caffe test` runs them."""

from __future__ import annotations

from collections.abc import Mapping

import click

from rlossctl.cli import groups, options


@groups.command("test")
@click.argument("net")
@click.argument("weights")
@groups.option_group(
    "Net",
    options.placeholders,
    click.option("--level", type=int, default=0, show_default=True, help="Level of the net's state."),
    click.option("--stage", "stages", multiple=True, help="Stage of the net's state. Repeatable."),
    options.dialect,
    options.allow_missing,
    options.python_layers,
)
@groups.option_group(
    "Data",
    click.option("--data", metavar="LIST", help="List file, instead of the data layer's source."),
    click.option("--root", metavar="DIR", help="Folder of the list's names, instead of root_folder."),
    click.option(
        "--iterations", type=click.IntRange(min=1), default=50, show_default=True, help="Number of batches."
    ),
)
@groups.option_group(
    "Device and output",
    options.device,
    click.option("--json", "json_file", metavar="FILE", help="Write loss, means and last batch as JSON."),
)
@options.unread_paths(replaced={"data": "source", "root": "root_folder"}, always=["/name"])
def command(
    net: str,
    weights: str,
    iterations: int,
    placeholders: Mapping[str, object],
    data: str | None,
    root: str | None,
    level: int,
    stages: tuple[str, ...],
    device: str,
    dialect: str,
    allow_missing: bool,
    json_file: str | None,
) -> None:
    """Run batches of NET.prototxt's own test data with WEIGHTS; print every output and the means.

    This is `caffe test`, line by line, for any net with a data layer and outputs: classifiers, losses,
    SegAccuracy. For segmentation models on a list of images, `rlossctl eval` is the better choice.

    \b
    Examples:
      rlossctl test lenet_train_test.prototxt lenet_iter_10000.caffemodel --iterations 100
      rlossctl test test.prototxt train_iter_9000.caffemodel --set NUM_LABELS=21 --set EXP=voc \\
          --data val.txt --root VOC2012 --iterations 1449
    """
    from rlossctl.net import DataOverrides, NetOrigin
    from rlossctl.solver.scoring.testing import run_test

    tested = run_test(
        NetOrigin(net, weights, placeholders, dialect, allow_missing),
        iterations=iterations,
        data=DataOverrides(data, root),
        level=level,
        stages=stages,
        device=device,
    )
    if json_file:
        options.write_json(json_file, tested._asdict())
