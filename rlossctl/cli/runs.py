"""`rlossctl runs`: parses its arguments and calls rlossctl.runs."""

from __future__ import annotations

from pathlib import Path

import click

from rlossctl.cli import groups


@groups.command("runs")
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--report", metavar="FILE", type=click.Path(path_type=Path), help="Write a page with curves.")
@click.option(
    "--figures",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the curves for a paper: an SVG and a PNG of each.",
)
def command(folders: tuple[Path, ...], report: Path | None, figures: Path | None) -> None:
    """Compare training runs: best scores, and the settings that differ.

    Each DIR is what `rlossctl train --out` wrote. Scores are in percent, the best over the run's tests.
    --report writes a page with all curves, as a single file, --figures each curve as SVG and PNG.

    \b
    Examples:
      rlossctl runs runs/a runs/b
      rlossctl runs runs/a runs/b --report runs.html --figures figures
    """
    from rlossctl.files import atomic_write
    from rlossctl.runs.page import render_runs, write_curves
    from rlossctl.runs.run import read_runs
    from rlossctl.runs.table import format_runs

    runs = read_runs(folders)
    click.echo(format_runs(runs))
    if report is not None:
        with atomic_write(report) as file:
            file.write(render_runs(runs).encode())
        click.echo(f"\nreport in {report}")
    if figures is not None:
        write_curves(figures, runs)
        click.echo(f"\nfigures in {figures}")
