"""`rlossctl train`: parses its arguments and calls rlossctl.solver.training."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

import click

from rlossctl.cli import groups, options
from rlossctl.words import counted

HUGE_PAGES = "THP_MEM_ALLOC_ENABLE", "1"  # large tensors in pages of 2 MB: fewer page faults on a CPU

EPILOG = """\b
Examples:
  # a solver that names its net; everything goes to runs/a
  rlossctl train --prototxt solver.prototxt --out runs/a
\b
  # an original rloss experiment: phase 1, then phase 2 with the DenseCRF loss
  rlossctl train --prototxt train.prototxt --solver solver.prototxt --set NUM_LABELS=21 --set EXP=voc \\
      --set NET_ID=largeFOV --data train.txt --root VOC2012 --weights vgg16_20M.caffemodel --out runs/phase1
  rlossctl train --prototxt trainwithdensecrfloss.prototxt --solver solverwithdensecrfloss.prototxt \\
      --set NUM_LABELS=21 --set EXP=voc --set NET_ID=largeFOV --set DENSECRF_LOSS_WEIGHT=1e-8 \\
      --data train.txt --root VOC2012 --weights runs/phase1/train_iter_9000.caffemodel --out runs/phase2
\b
  # continue a run that was killed, from its last snapshot
  rlossctl train --prototxt solver.prototxt --out runs/a --resume auto
\b
  # four GPUs, each with batches of its own; start again by itself if one is lost
  torchrun --nproc-per-node 4 --max-restarts 3 -m rlossctl train --prototxt solver.prototxt --out runs/a \\
      --resume auto
\b
OUT receives the snapshots (<prefix>_iter_N.caffemodel, .solverstate and .resume.json), train.log with
Caffe's log lines, metrics.jsonl with one JSON object per iteration, and run.json with the origin of the
run. OUT holds one run: another run is refused unless --overwrite deletes the old one. Ctrl-C and SIGTERM
write a snapshot and stop, with exit status 130 and 143; an error leaves a snapshot of the last whole
iteration.
"""


@groups.command("train", epilog=EPILOG)
@groups.option_group(
    "Net and solver",
    click.option(
        "--prototxt", required=True, metavar="FILE", help="Solver prototxt, or a net prototxt with --solver."
    ),
    click.option("--solver", metavar="FILE", help="Solver prototxt, when --prototxt is a net."),
    options.placeholders,
    click.option("--seed", type=click.IntRange(min=0), help="Replaces the solver's random_seed."),
    options.dialect,
    options.python_layers,
)
@groups.option_group(
    "In place of values in the prototxts",
    click.option(
        "--max-iter",
        type=click.IntRange(min=1),
        metavar="N",
        help="Number of updates, at which the schedule ends, too.",
    ),
    click.option(
        "--epochs",
        type=click.FloatRange(min=0, min_open=True),
        metavar="N",
        help="Passes over the training data, instead of max_iter.",
    ),
    click.option("--lr", type=click.FloatRange(min=0, min_open=True), help="Base learning rate (base_lr)."),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        metavar="N",
        help="Batch size of the training net's data layers.",
    ),
    click.option(
        "--iter-size", type=click.IntRange(min=1), metavar="N", help="Number of batches per update."
    ),
    click.option(
        "--crop", type=click.IntRange(min=1), metavar="N", help="Side of the training net's crops, in pixels."
    ),
    click.option(
        "--freeze",
        multiple=True,
        metavar="PATTERN",
        help="Layers to keep as they are, such as 'conv1*', in addition to the solver's. Repeatable.",
    ),
)
@groups.option_group(
    "Data",
    click.option("--data", metavar="LIST", help="Training list, instead of the data layer's source."),
    click.option("--root", metavar="DIR", help="Folder of the list's names, instead of root_folder."),
    click.option("--val", metavar="LIST", help="Validation list, instead of the test net's source."),
    click.option(
        "--val-root", metavar="DIR", help="Folder of its names, instead of the test net's root_folder."
    ),
    click.option(
        "--test-interval",
        type=click.IntRange(min=0),
        metavar="N",
        help="Test every N iterations, instead of the solver's; 0: never.",
    ),
    click.option(
        "--workers", type=click.IntRange(min=0), help="Threads that decode images.  [default: up to 4]"
    ),
)
@groups.option_group(
    "Where to start from",
    click.option("--weights", metavar="A[,B]", help="Caffemodels to copy from by layer name, in order."),
    click.option(
        "--skip-mismatched",
        is_flag=True,
        help="Initialize layers whose blobs differ in size from the weights (another number of classes).",
    ),
    click.option(
        "--resume",
        metavar="STATE|auto",
        help="Continue from a .solverstate; auto: from the newest complete one in OUT. Where there is none, "
        "the run starts from --weights.",
    ),
)
@groups.option_group(
    "Device and output",
    options.device,
    click.option(
        "--channels-last/--no-channels-last",
        default=None,
        help="Lay out images and weights with their channels last.  [default: on a GPU]",
    ),
    click.option(
        "--cuda-graphs/--no-cuda-graphs",
        default=False,
        help="Capture each pass once and replay it: for batches of one size.  [default: off]",
    ),
    click.option(
        "--compile/--no-compile",
        "compiled",
        default=False,
        help="Join layers with torch.compile; it takes minutes and needs a C++ compiler.  [default: off]",
    ),
    click.option("--out", metavar="DIR", help="Folder for snapshots and logs.  [default: snapshot_prefix's]"),
    click.option("--overwrite", is_flag=True, help="Delete the run that OUT holds, and start anew."),
    click.option(
        "--snapshot",
        type=click.IntRange(min=0),
        metavar="N",
        help="Snapshot every N iterations, instead of the solver's; 0: none before the end.",
    ),
    click.option(
        "--keep", type=click.IntRange(min=1), metavar="N", help="Keep the last N snapshots of this run only."
    ),
    click.option("--tensorboard", is_flag=True, help="Also write TensorBoard events, to OUT/tensorboard."),
)
@options.unread_paths(
    replaced={
        "data": "source",
        "root": "root_folder",
        "out": "snapshot_prefix/",
        "solver": "net train_net",
    },
)
def command(
    prototxt: str,
    solver: str | None,
    placeholders: Mapping[str, object],
    weights: str | None,
    skip_mismatched: bool,
    resume: str | None,
    out: str | None,
    device: str,
    workers: int | None,
    seed: int | None,
    max_iter: int | None,
    epochs: float | None,
    lr: float | None,
    batch_size: int | None,
    iter_size: int | None,
    crop: int | None,
    freeze: tuple[str, ...],
    data: str | None,
    root: str | None,
    val: str | None,
    val_root: str | None,
    test_interval: int | None,
    overwrite: bool,
    snapshot: int | None,
    keep: int | None,
    tensorboard: bool,
    channels_last: bool | None,
    cuda_graphs: bool,
    compiled: bool,
    dialect: str,
) -> None:
    """Train a net as Caffe's solver does: the same update rules, policies, snapshots and log lines.

    Both prototxts may contain placeholders ${NAME}; --set or the environment give their values. They may stay
    unset in a path that --data, --root, --out or --prototxt replaces. Files that a solver names are looked up
    in the working directory, as in Caffe, then in the solver's own folder. A terminal shows a progress bar; a
    file or pipe gets Caffe's log lines.
    """
    os.environ.setdefault(*HUGE_PAGES)  # torch reads it when it is loaded

    from rlossctl.net import DataOverrides
    from rlossctl.solver.machine.speed import Speed
    from rlossctl.solver.reading.files import SolverOrigin
    from rlossctl.solver.reading.options import TrainOptions
    from rlossctl.solver.training import train

    names = [name.strip() for name in (weights or "").split(",") if name.strip()]
    chosen = TrainOptions(
        weights=names or None,
        skip_mismatched=skip_mismatched,
        resume=resume,
        out=out,
        device=device,
        workers=workers,
        seed=seed,
        max_iter=max_iter,
        test_data=DataOverrides(val, val_root),
        test_interval=test_interval,
        epochs=epochs,
        lr=lr,
        batch_size=batch_size,
        iter_size=iter_size,
        crop=crop,
        freeze=freeze,
        snapshot=snapshot,
        keep=keep,
        overwrite=overwrite,
        tensorboard=tensorboard,
        speed=Speed(channels_last, cuda_graphs, compiled),
    )
    file = SolverOrigin(prototxt, solver, placeholders, dialect).read()
    trained = train(file, DataOverrides(data, root), chosen)
    if not trained.first:  # another process tells
        sys.exit(trained.exit_code)
    state = f"snapshot {trained.snapshot}" if trained.snapshot else "no snapshot was written"
    verb = "stopped" if trained.stopped else "done"
    click.echo(f"{verb} after {counted(trained.iter, 'iteration')}; {state}; metrics in {trained.metrics}")
    for note in trained.notes:
        click.echo(note)
    if trained.stopped:
        sys.exit(trained.exit_code)
