"""`rlossctl diff`: what differs between two files."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rlossctl.cli import groups, options
from rlossctl.errors import RlossError

DIFFERENT, TROUBLE = 1, 2  # as diff(1) has it


@groups.command("diff")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@options.placeholders
@options.dialect
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Largest difference that counts as equal, as a share of the blob's largest magnitude.",
)
@click.option(
    "--draw",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw two nets beside each other, as a page (.html) that shows what differs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    first: Path,
    second: Path,
    placeholders: dict[str, str],
    dialect: str,
    tolerance: float,
    draw: Path | None,
    as_json: bool,
) -> None:
    """Compare what two files have in common: layers and their parameters, blobs, a solver's fields.

    Formats may differ: a prototxt has layers; safetensors, HDF5 and PyTorch files have blobs; a binary
    caffemodel has both. Lines start with - (only in FIRST), + (only in SECOND) or ~ (different).

    Exit status, as diff's: 0 equal, 1 different, 2 trouble (a file cannot be read, wrong arguments).

    \b
    Examples:
      rlossctl diff train_iter_1000.caffemodel train_iter_2000.caffemodel
      rlossctl diff model.safetensors model.caffemodel
      rlossctl diff train.prototxt trainwithdensecrfloss.prototxt --set NUM_LABELS=21 \\
          --set DENSECRF_LOSS_WEIGHT=1e-8
      rlossctl diff train_iter_1000.caffemodel train_iter_2000.caffemodel --draw weights.html
    """
    from rlossctl.inspection import compare_files
    from rlossctl.net.origin import NetOrigin

    try:
        old, new = (NetOrigin(path, placeholders=placeholders, dialect=dialect) for path in (first, second))
        result = compare_files(old, new, tolerance, draw)
    except RlossError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(TROUBLE)
    if as_json:
        options.write_json("-", result.as_dict())
    else:
        click.echo("\n".join(result.lines()))
    sys.exit(0 if result.equal else DIFFERENT)
