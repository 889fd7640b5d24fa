"""`rlossctl demo`: trains, converts and evaluates on generated data."""

from __future__ import annotations

from pathlib import Path

import click

from rlossctl.cli import groups, options


@groups.command("demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="demo-out",
    show_default=True,
    help="Folder to write to.",
)
@click.option(
    "--losses",
    default="densecrf",
    show_default=True,
    metavar="A,B|all",
    help="Losses to compare with the cross-entropy alone: regularizers on scribbles, others on full masks.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the data set and the training.")
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Repeat with so many seeds, from --seed on; the table has means and standard deviations.",
)
@click.option(
    "--max-iter",
    type=click.IntRange(1),
    metavar="N",
    help="Updates of each phase.  [default: 500, then 300]",
)
@options.placeholders
@click.option("--resume", is_flag=True, help="Go on with the runs in OUT; without it they are replaced.")
def command(
    out: Path,
    losses: str,
    seed: int,
    seeds: int,
    max_iter: int | None,
    placeholders: dict[str, str],
    resume: bool,
) -> None:
    """Train on generated data: with scribbles, with DenseCRFLoss and with full masks; convert and evaluate.

    The three runs train the same net for the same number of updates. A table and the path of a report with
    pictures are printed. This takes a few minutes on two CPU cores and downloads nothing.

    With --losses there is a run for each of the losses: densecrf, normalizedcut, kernelcut, gatedcrf, potts
    (six relaxations), tree, entropy, size and selflabelling on scribbles; focal, bce, dice and lovasz on full
    masks. Where the weight of a regularizer is measured, --set PULL=0.3 makes it pull less hard than the
    default of 1.

    \b
    Examples:
      rlossctl demo
      rlossctl demo --out /tmp/demo --seed 3
      rlossctl demo --losses gatedcrf,tree --seeds 3
      rlossctl demo --losses all --seeds 5 --out runs/losses --resume
    """
    from rlossctl.demo import Settings, chosen, format_table, run_demo

    recipes, results = chosen(losses), []
    for number in range(seed, seed + seeds):
        folder = out if seeds == 1 else out / f"seed{number}"
        settings = Settings(number, max_iter, placeholders)
        results.append(run_demo(folder, recipes, settings, click.echo, resume))
    click.echo("")
    for line in format_table([result.rows for result in results], placeholders):
        click.echo(line)
    click.echo("")
    for result in results:
        click.echo(f"report: {result.page}")
    click.echo(f"took {sum(result.seconds for result in results):.0f} s")
