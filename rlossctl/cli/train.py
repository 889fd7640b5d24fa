"""`rlossctl train`: parses and hands over to rlossctl.solver.training."""

from __future__ import annotations

import click

from rlossctl.cli import options

EPILOG = """\b
Examples:
  # a solver that names its net; everything goes to runs/a
  rlossctl train --prototxt solver.prototxt --out runs/a
\b
  # an original rloss experiment, phase 1 and then phase 2 with the DenseCRF loss
  rlossctl train --prototxt net.prototxt --solver solver.prototxt --set NUM_LABELS=21 \\
      --data train.txt --root VOC2012 --weights vgg16_20M.caffemodel --out runs/phase1
  rlossctl train --prototxt net_crf.prototxt --solver solver_crf.prototxt --set NUM_LABELS=21 \\
      --set DENSECRF_LOSS_WEIGHT=1e-8 --data train.txt --root VOC2012 \\
      --weights runs/phase1/train_iter_9000.caffemodel --out runs/phase2
\b
  # a run that was killed goes on where its last snapshot was written
  rlossctl train --prototxt solver.prototxt --out runs/a --resume auto
\b
OUT holds the snapshots (<prefix>_iter_N.caffemodel, .solverstate and .resume.json), train.log with
Caffe's log lines and metrics.jsonl with one JSON object per iteration. Ctrl-C stops with a snapshot.
"""


@click.command("train", epilog=EPILOG)
@click.option(
    "--prototxt", required=True, metavar="FILE", help="Solver prototxt, or net prototxt with --solver."
)
@click.option("--solver", metavar="FILE", help="Solver prototxt, when --prototxt is a net.")
@options.placeholders
@click.option("--weights", metavar="A[,B]", help="Caffemodels to start from, copied by layer name in order.")
@click.option("--resume", metavar="STATE|auto", help="Go on from a .solverstate; auto: from the newest one.")
@click.option("--out", metavar="DIR", help="Folder for snapshots and logs.  [default: snapshot_prefix's]")
@options.device
@click.option("--workers", type=click.IntRange(min=0), help="Threads that decode images.  [default: up to 4]")
@click.option("--seed", type=click.IntRange(min=0), help="In place of random_seed.")
@click.option("--max-iter", type=click.IntRange(min=1), help="In place of max_iter, also for lr_policy poly.")
@click.option("--data", metavar="LIST", help="Training list, in place of the data layer's source.")
@click.option("--root", metavar="DIR", help="Folder of the list's names, in place of root_folder.")
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard events, to OUT/tensorboard.")
@options.dialect
@options.python_layers
def command(
    prototxt: str,
    solver: str | None,
    settings: dict[str, str],
    weights: str | None,
    resume: str | None,
    out: str | None,
    device: str,
    workers: int | None,
    seed: int | None,
    max_iter: int | None,
    data: str | None,
    root: str | None,
    tensorboard: bool,
    dialect: str,
) -> None:
    """Train a net as Caffe's solver does: its update rules, policies, snapshots and log lines.

    FILE may hold placeholders ${NAME}; --set and the environment fill them. Files that a solver names are
    looked up from the working directory, as in Caffe, then from the solver's own folder. On a terminal a
    progress bar is shown, elsewhere Caffe's log lines.
    """
    from rlossctl.net import DataOverrides
    from rlossctl.solver.files import SolverOrigin
    from rlossctl.solver.options import TrainOptions
    from rlossctl.solver.training import train

    names = [name.strip() for name in (weights or "").split(",") if name.strip()]
    chosen = TrainOptions(
        weights=names or None,
        resume=resume,
        out=out,
        device=device,
        workers=workers,
        seed=seed,
        max_iter=max_iter,
        tensorboard=tensorboard,
    )
    origin = SolverOrigin(prototxt, solver, settings, dialect)
    trained = train(origin, DataOverrides(data, root), chosen)
    state = f"snapshot {trained.snapshot}" if trained.snapshot else "no snapshot was written"
    verb = "stopped" if trained.stopped else "done"
    click.echo(f"{verb} after {trained.iter} iterations; {state}; figures {trained.metrics}")
