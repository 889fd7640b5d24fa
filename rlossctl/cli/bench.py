"""`rlossctl bench`: parses its arguments and calls rlossctl.bench."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rlossctl.cli import groups

EPILOG = """\b
Examples:
  rlossctl bench filter
  rlossctl bench filter --size 321 --batch 12 --threads 2
  rlossctl bench filter --size 129 --scaling scaling.png
"""


@groups.group("bench")
def command() -> None:
    """Measure the bilateral filter and the DenseCRF loss on this machine."""


@command.command("filter", epilog=EPILOG)
@groups.option_group(
    "What is filtered",
    click.option(
        "--size",
        "sizes",
        type=click.IntRange(2, 4096),
        multiple=True,
        default=[41, 129, 257, 321, 513],
        show_default=True,
        help="Side of the images. Repeatable.",
    ),
    click.option("--channels", type=click.IntRange(1), default=21, show_default=True, help="Classes."),
    click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Images at once."),
    click.option("--sigma-xy", type=float, default=100, show_default=True, help="In pixels."),
    click.option("--sigma-rgb", type=float, default=15, show_default=True, help="In grey levels of 0..255."),
)
@groups.option_group(
    "How it is measured",
    click.option(
        "--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of each filter."
    ),
    click.option("--repeats", type=click.IntRange(1), default=7, show_default=True, help="Timed rounds."),
    click.option("--twin/--no-twin", default=True, show_default=True, help="Include the slow torch twin."),
    click.option(
        "--scaling",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Also draw a PNG of how the time grows with threads, classes and pixels.",
    ),
)
def filter_(
    sizes: tuple[int, ...],
    channels: int,
    batch: int,
    sigma_xy: float,
    sigma_rgb: float,
    threads: int,
    repeats: int,
    twin: bool,
    scaling: Path | None,
) -> None:
    """Time the bilateral filter and the DenseCRF loss, with their accuracy and memory.

    Compares the native kernel with its torch twin, and with pydensecrf and pykeops if they are installed, on
    generated images (smooth like a street, textured like most photos). Each round times every filter once.
    With one thread it measures processor time, which other programs disturb less.
    """
    from rlossctl.bench.contenders import contenders
    from rlossctl.bench.measure import Job
    from rlossctl.bench.table import table

    found = contenders(twin)
    job = Job(sizes[0], "smooth", channels, batch, threads, sigma_xy, sigma_rgb, repeats)
    for line in table(found, list(sizes), job):
        click.echo(line)
    if scaling is not None:
        from rlossctl.bench.scaling import scaling as draw

        most = os.cpu_count() or 1
        one = Job(129, "smooth", sigma_xy=sigma_xy, sigma_rgb=sigma_rgb, repeats=repeats)
        for line in draw(scaling, found[0], most, one):
            click.echo(line)
        click.echo(f"drawn: {scaling}")
