"""`rlossctl test`: batches of a test net, as `caffe test` runs them."""

from __future__ import annotations

import click

from rlossctl.cli import options


@click.command("test")
@click.argument("net")
@click.argument("weights")
@click.option(
    "--iterations", type=click.IntRange(min=1), default=50, show_default=True, help="Number of batches."
)
@options.placeholders
@click.option("--data", metavar="LIST", help="List file, in place of the data layer's source.")
@click.option("--root", metavar="DIR", help="Folder of the list's names, in place of root_folder.")
@click.option("--level", type=int, default=0, show_default=True, help="NetState's level.")
@click.option("--stage", "stages", multiple=True, help="NetState's stage. Repeatable.")
@options.device
@options.dialect
@options.python_layers
@click.option("--json", "json_file", metavar="FILE", help="Write loss, means and last batch as JSON.")
def command(
    net: str,
    weights: str,
    iterations: int,
    settings: dict[str, str],
    data: str | None,
    root: str | None,
    level: int,
    stages: tuple[str, ...],
    device: str,
    dialect: str,
    json_file: str | None,
) -> None:
    """Run batches of NET.prototxt's own test data with WEIGHTS; print every output and the means.

    This is `caffe test`, line by line, for any net with a data layer and outputs: classifiers, losses,
    SegAccuracy. Segmentation models on a list of images are better served by `rlossctl eval`.

    \b
    Examples:
      rlossctl test lenet_train_test.prototxt lenet_iter_10000.caffemodel --iterations 100
      rlossctl test test.prototxt train_iter_9000.caffemodel --set NUM_LABELS=21 --iterations 1449
    """
    from rlossctl.net import DataOverrides, NetOrigin
    from rlossctl.solver.testing import run_test

    tested = run_test(
        NetOrigin(net, weights, settings, dialect),
        iterations=iterations,
        data=DataOverrides(data, root),
        level=level,
        stages=stages,
        device=device,
    )
    if json_file:
        options.write_json(json_file, tested._asdict())
