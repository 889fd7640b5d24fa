"""`rlossctl demo`: trains, converts and evaluates on generated data."""

from __future__ import annotations

from pathlib import Path

import click

from rlossctl.cli import groups


@groups.command("demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="demo-out",
    show_default=True,
    help="Folder to write to.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the data set and the training.")
def command(out: Path, seed: int) -> None:
    """Train on generated data: with scribbles, with DenseCRFLoss and with full masks; convert and evaluate.

    The three runs train the same net for the same number of updates. A table and the path of a report with
    pictures are printed. This takes a few minutes on two CPU cores and downloads nothing.

    \b
    Examples:
      rlossctl demo
      rlossctl demo --out /tmp/demo --seed 3
    """
    from rlossctl.demo import format_table, run_demo

    result = run_demo(out, seed, say=click.echo)
    click.echo("")
    for line in format_table(result):
        click.echo(line)
    click.echo(f"\nreport: {result.page}")
    click.echo(f"took {result.seconds:.0f} s")
