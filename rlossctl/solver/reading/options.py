"""What a training is told besides its prototxts and lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from rlossctl.errors import UsageError
from rlossctl.net import DataOverrides
from rlossctl.solver.machine.speed import Speed


@dataclass(frozen=True)
class TrainOptions:
    """How a training is run.

    Attributes:
        weights: caffemodels to start from, copied by layer name in order; None: the solver's own `weights`.
        skip_mismatched: layers whose blobs differ in size from those of `weights` start anew; otherwise they
            are an error.
        resume: a solver state, or "auto" for the newest whole snapshot of the run in the folder (a fresh
            start, from `weights`, if there is none).
        out: folder for snapshots, train.log and metrics.jsonl; None: where snapshot_prefix says.
        device: "cpu", "cuda", "cuda:1"; None and "auto" follow solver_mode and device_id, and take the CPU
            where there is no GPU.
        workers: threads that decode images ahead; None: up to 4.
        seed: in place of random_seed; without either the system gives one.
        max_iter: in place of max_iter, also for the poly policy.
        test_data: for the test nets' data layers, in place of their own.
        test_interval: iterations between tests, in place of the solver's; 0 for none at all.
        epochs: how often the training data is drawn, in place of max_iter.
        snapshot: iterations between snapshots, in place of the solver's; 0 for none on the way.
        lr: in place of base_lr.
        iter_size: in place of the solver's.
        batch_size, crop: of the training net's data layers, in place of the prototxt's; crop is a side in
            pixels.
        freeze: layers that stay as they are, as shell patterns, besides those of the solver.
        keep: so many snapshots of this run stay, older ones are deleted; None: all.
        overwrite: deletes the run that the folder holds and starts anew.
        tensorboard: also write TensorBoard events, to the folder `tensorboard` beside the logs.
        speed: memory format and CUDA graphs.
        quiet: of the log lines, only warnings go to stderr. (On a terminal a bar always takes their place.)

    Raises:
        UsageError: options that do not go together.
    """

    weights: Sequence[str | Path] | None = None
    skip_mismatched: bool = False
    resume: str | None = None
    out: str | Path | None = None
    device: str | torch.device | None = None
    workers: int | None = None
    seed: int | None = None
    max_iter: int | None = None
    test_data: DataOverrides = field(default_factory=DataOverrides)
    test_interval: int | None = None
    epochs: float | None = None
    snapshot: int | None = None
    lr: float | None = None
    iter_size: int | None = None
    batch_size: int | None = None
    crop: int | None = None
    freeze: Sequence[str] = ()
    keep: int | None = None
    overwrite: bool = False
    tensorboard: bool = False
    quiet: bool = False
    speed: Speed = field(default_factory=Speed)

    def __post_init__(self) -> None:
        if self.resume and self.resume != "auto" and self.weights:
            raise UsageError(
                "--weights goes with --resume auto, not with a state",
                found=f"--resume {self.resume}",
                expected="one of them",
                advice="--resume STATE goes on with a run; --weights starts a new one from trained weights, "
                "and with --resume auto only if the folder has no snapshot",
            )
        if self.resume and self.overwrite:
            raise UsageError(
                "--resume and --overwrite exclude each other",
                found="both",
                expected="one of them",
                advice="--resume goes on with the run in the folder; --overwrite deletes it",
            )
        if self.epochs is not None and self.max_iter is not None:
            raise UsageError(
                "--epochs and --max-iter exclude each other",
                found="both",
                expected="one of them",
                advice="--epochs counts passes over the training data; --max-iter counts updates",
            )
        if self.keep is not None and self.keep < 1:
            raise UsageError("--keep is out of range", found=self.keep, expected="1 or more snapshots")
