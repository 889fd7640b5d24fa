"""`rlossctl bench`: parses its arguments and calls rlossctl.bench."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rlossctl.cli import groups, options
from rlossctl.progress import track

EPILOG = """\b
Examples:
  rlossctl bench models fp32.onnx int8.onnx
  rlossctl bench filter
  rlossctl bench filter --size 321 --batch 12 --threads 2
  rlossctl bench filter --size 257 --peers
  rlossctl bench filter --size 129 --scaling scaling.png
"""


@groups.group("bench")
def command() -> None:
    """Measure models, and the bilateral filter with the DenseCRF loss, on this machine."""


@command.command("models")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@options.placeholders
@click.option(
    "--size",
    "sizes",
    type=options.Numbers("H,W", int),
    multiple=True,
    default=["513,513"],
    show_default=True,
    help="Height and width of the images, unless a model has its own. Repeatable.",
)
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(1),
    multiple=True,
    default=[1],
    show_default=True,
    help="Images at once.",
)
@click.option(
    "--threads", type=click.IntRange(1), multiple=True, default=[1], show_default=True, help="On the CPU."
)
@click.option(
    "--device",
    "devices",
    type=click.Choice(["cpu", "cuda"]),
    multiple=True,
    default=["cpu"],
    show_default=True,
    help="Where models run. Repeatable, as the two above.",
)
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True, help="Timed passes.")
@click.option(
    "--draw", type=click.Path(path_type=Path, dir_okay=False), help="Draw an SVG of the throughput."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models_(
    models: tuple[str, ...],
    placeholders: dict[str, object],
    sizes: tuple[tuple[int, int], ...],
    batches: tuple[int, ...],
    threads: tuple[int, ...],
    devices: tuple[str, ...],
    repeats: int,
    draw: Path | None,
    as_json: bool,
) -> None:
    """Time models beside each other: latency, throughput and memory for every size, batch and device.

    MODEL is an ONNX file, run by ONNX Runtime, or a prototxt, run by PyTorch. Each measurement has its own
    process.

    \b
    Examples:
      rlossctl bench models fp32.onnx int8.onnx net.prototxt --set NUM_LABELS=21
      rlossctl bench models net.onnx --size 321,321 --size 513,513 --threads 1 --threads 4 --draw net.svg
    """
    from dataclasses import asdict
    from itertools import product

    from rlossctl.bench.models import Load, measure_all, picture, table

    every = product(models, devices, sizes, batches, threads)
    loads = [
        Load(model, dict(placeholders), device, size, batch, count, repeats)
        for model, device, size, batch, count in every
    ]
    found = list(track(measure_all(loads), len(loads), "measurements"))
    if as_json:
        options.write_json("-", [asdict(one) for one in found])
    else:
        click.echo("\n".join(table(found)))
    if draw is not None:
        options.write_text(draw, picture(found))


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
        "--peers", "with_peers", is_flag=True, help="Also MONAI's and WarpConvNet's filters, where installed."
    ),
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
    with_peers: bool,
    scaling: Path | None,
) -> None:
    """Time the bilateral filter and the DenseCRF loss, with their accuracy and memory.

    Compares the native kernel with its torch twin, and with pydensecrf and pykeops if they are installed, on
    generated images (smooth like a street, textured like most photos). Each round times every filter once.
    With one thread it measures processor time, which other programs disturb less. --peers adds MONAI and
    WarpConvNet, and says what it takes to install the one that is missing.
    """
    from rlossctl.bench.contenders import contenders
    from rlossctl.bench.measure import Job
    from rlossctl.bench.peers import peers
    from rlossctl.bench.table import table

    others, missing = peers() if with_peers else ([], [])
    found = contenders(twin) + others
    for line in missing:
        click.echo(line)
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
