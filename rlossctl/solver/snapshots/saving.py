"""What a snapshot of a run holds and how a run goes on from one (Solver::Snapshot, Solver::Restore)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from rlossctl.errors import RlossError
from rlossctl.net import Net
from rlossctl.net.parameters import copy_blobs
from rlossctl.net.saved import Values, copied
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.machine.precision import LossScale
from rlossctl.solver.scoring.best import Standing
from rlossctl.solver.snapshots import resume, snapshot
from rlossctl.solver.snapshots.background import Background
from rlossctl.solver.telling.figures import Resumed, Saved
from rlossctl.solver.telling.log import Log
from rlossctl.solver.telling.monitor import SmoothedLoss
from rlossctl.solver.updating.average import Average
from rlossctl.solver.updating.schedules import Schedules
from rlossctl.solver.updating.updates import Updater
from rlossctl.weights import SolverState, load_solverstate, load_weights


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        iter: number of updates made.
        current_step: steps of the rate so far.
        seed: what the random generators were started with.
        run: the id of the run, in every snapshot of it.
        snapshots: how many snapshots of the run there have been.
        standing: how its tests have gone.
    """

    iter: int = 0
    current_step: int = 0
    seed: int = 0
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    snapshots: int = 0
    standing: Standing = field(default_factory=Standing)


class Saving:
    """Writes and reads the snapshots of a run.

    Attributes:
        prefix: where snapshots go: `<prefix>_iter_<iter>.caffemodel` and so on.
        last: the solver state written last, None if there is none.
        saved_iter: the iteration of the snapshot written or read last, -1 if there is none.
            (Of one that is being written nothing is known before `finished` tells it.)
        best: the weights of the best test, None if none were kept.

    Args:
        nets: the training net, then the test nets.
        average: of the training net's weights.
        scale: the loss scale, if there is one.
    """

    def __init__(
        self,
        param: SolverParameter,
        nets: Sequence[Net],
        updater: Updater,
        average: Average,
        log: Log,
        prefix: str,
        scale: LossScale | None = None,
    ) -> None:
        self._scale = scale
        self.prefix = prefix
        self.last: Path | None = None
        self.saved_iter = -1
        self.best: Path | None = None
        self._param = param
        self._nets = nets
        self._updater = updater
        self._average = average
        self._log = log
        self._writing = Background[Saved]()

    def files(self, iteration: int) -> snapshot.Files:
        """The files of a snapshot after so many updates."""
        hdf5 = self._param.snapshot_format == SolverParameter.HDF5
        return snapshot.file_names(self.prefix, iteration, hdf5)

    def begin(self, progress: Progress, at: resume.Position) -> None:
        """Copies weights, history and the rest, which a thread then writes. The one before must be finished.

        Args:
            at: where data and generators stand.

        Raises:
            RlossError: a weight is not finite; nothing is written then.
        """
        self._check_weights(progress.iter)
        files = self.files(progress.iter)
        kind = "HDF5" if files.model.suffix == ".h5" else "binary proto"
        self._log.info(f"Snapshotting to {kind} file {files.model}")
        self._log.info(f"Snapshotting solver state to {kind} file {files.state}")
        kept = self._kept(progress, at, files)
        progress.snapshots += 1

        saved = Saved(progress.iter, files.model, files.state)

        def write() -> Saved:
            snapshot.write(files, self._nets[0], kept)
            return saved

        self._writing.start(write)

    def finished(self, *, wait: bool) -> Saved | None:
        """The snapshot that was begun, once it is written; None if there is none, or if it goes on.

        Args:
            wait: until it is written.

        Raises:
            RlossError: it could not be written.
        """
        saved = self._writing.fetch(wait=wait)
        if saved is not None:
            self.last, self.saved_iter = saved.state, saved.iter
        return saved

    def _kept(self, progress: Progress, at: resume.Position, files: snapshot.Files) -> snapshot.Kept:
        """Copies of all that changes."""
        blobs = [entry.tensor for entry in self._nets[0].learnable]
        diffs = copied(blobs, self._updater.last_diffs()) if self._param.snapshot_diff else None
        slots = self._updater.history
        history = list(copied(slots, slots).values())
        tag = resume.Tag(
            progress.run, progress.seed, progress.iter, progress.snapshots, replace(progress.standing)
        )
        scale = None if self._scale is None else self._scale.state()
        average = self._average.values()
        return snapshot.Kept(
            Values(copied(blobs, blobs), diffs),
            SolverState(progress.iter, str(files.model), history, progress.current_step),
            partial(resume.content, deepcopy(at), tag, scale=scale),
            None if average is None else Values(copied(blobs, average)),
        )

    def write_best(self, iteration: int) -> Path:
        """Writes the weights alone, under the name of the best.

        Raises:
            RlossError: a weight is not finite (nothing is written then), or the folder cannot be written.
        """
        self._check_weights(iteration)
        path = snapshot.best_name(self.prefix, self._param.snapshot_format == SolverParameter.HDF5)
        snapshot.write_weights(path, self._nets[0])
        self.best = path
        return path

    def restore(
        self, path: Path, progress: Progress, smoothed: SmoothedLoss, schedules: Schedules
    ) -> Resumed:
        """Puts weights, history, and with a resume file everything else, where they were.

        Raises:
            WeightsError: a file is missing or damaged, or weights or history do not fit.
        """
        resume_file = resume.file_name(path)
        extras = resume.read(resume_file)
        model = snapshot.check_digests(path, extras)
        state = load_solverstate(path)
        snapshot.check_history(state.history, self._updater.history, path, self._updater.type)
        if model is not None:
            self._nets[0].copy_from(model)
        self._log.info(f"{self._updater.type}Solver: restoring history")
        with torch.no_grad():
            for target, array in zip(self._updater.history, state.history, strict=True):
                target.copy_(torch.from_numpy(np.array(array)).reshape(target.shape))
        progress.iter, progress.current_step = state.iter, state.current_step
        self._restore_average(snapshot.average_file(path))
        if extras is None:
            self._log.info("No resume file beside it: data order and random state start anew, as in Caffe")
        else:
            progress.seed = resume.apply(extras, resume_file, self._nets, smoothed, schedules)
            progress.run = extras.get("run") or progress.run
            if self._scale is not None and "loss_scale" in extras:
                self._scale.restore(extras["loss_scale"])
            progress.snapshots = extras.get("number", -1) + 1
            progress.standing = Standing(**extras.get("best", {}))
            best = snapshot.best_name(self.prefix, self._param.snapshot_format == SolverParameter.HDF5)
            self.best = best if progress.standing.iter >= 0 and best.is_file() else None
        self.saved_iter = progress.iter
        return Resumed(progress.iter, path, extras is not None)

    def _restore_average(self, path: Path) -> None:
        if not self._param.HasField("ema_decay"):
            return
        if not path.is_file():
            self._log.warning(f"No file {path}: the average of the weights starts from those of the snapshot")
            return
        model = load_weights(path)
        layers = ((layer.name, layer.blobs) for layer in model.layers)
        copy_blobs(layers, self._average.blobs(), str(path), complete=model.format == "binaryproto")

    def _check_weights(self, iteration: int) -> None:
        for entry in self._nets[0].learnable:
            if not torch.isfinite(entry.tensor).all():
                raise RlossError(
                    f"weights are not finite numbers after iteration {iteration - 1}",
                    where=f"layer {entry.layer!r}, blob {entry.index}",
                    found="NaN or infinity",
                    expected="finite weights in a snapshot",
                    advice="no snapshot was written or changed; lower base_lr or set clip_gradients, then "
                    "resume from the last snapshot",
                )
