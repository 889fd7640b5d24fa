"""Caffe's training loop (Solver::Step, Solve, Test, Snapshot, Restore) over a Net."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rlossctl.errors import PrototxtError, RlossError
from rlossctl.net import Net
from rlossctl.net.saved import as_array
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver import monitor, policies, resume, snapshot
from rlossctl.solver.debug import DebugInfo
from rlossctl.solver.figures import Resumed, Saved, StepFigures, Term, TestFigures, term_names
from rlossctl.solver.listeners import Advice, CaffeLines, JsonLines, Listener
from rlossctl.solver.log import Log, Stopwatch, number, warnings_to_stderr
from rlossctl.solver.schedules import Schedules
from rlossctl.solver.term_gradients import Pulls
from rlossctl.solver.updates import Updater
from rlossctl.weights import SolverState, load_solverstate
from rlossctl.words import counted


class _Pass(NamedTuple):
    """One pass forward and backward: weighted tops with their weights, outputs, norms of gradients."""

    losses: dict[str, tuple[Tensor, float]]
    outputs: dict[str, Tensor]
    pulls: dict[str, float]


class Solver:
    """Trains a net as Caffe's solver of the same prototxt does. Made by `rlossctl.load_solver`.

    `update` makes one update and returns its figures; `step` makes several, with the tests and snapshots that
    fall due; `solve` goes on until max_iter.

    Attributes:
        net: the training net.
        test_nets: the test nets; they use the training net's weights.
        iter: number of updates made.
        param: the SolverParameter.
        prefix: where snapshots go: `<prefix>_iter_<iter>.caffemodel` and so on.
        seed: what the random generators were started with.
        run: the id of this run, in every snapshot of it; `restore` goes on with that of the snapshot.
        snapshots: how many snapshots of this run there have been.
        log: takes Caffe's log lines and the JSON lines.
        stopped: whether SIGINT or SIGTERM ended the last `solve` early.
        signal: the number of the signal that did, 0 if none.
        listeners: who is told the figures, in this order; at first those that write them into `log`.
    """

    def __init__(
        self,
        param: SolverParameter,
        net: Net,
        test_nets: Sequence[Net] = (),
        *,
        prefix: str = "snapshot",
        seed: int = 0,
        log: Log | None = None,
    ) -> None:
        self.param = param
        self.net = net
        self.test_nets = list(test_nets)
        self.prefix = prefix
        self.seed = seed
        self.run = secrets.token_hex(8)
        self.snapshots = 0
        self.log = log or Log([warnings_to_stderr])
        self.iter = 0
        self.current_step = 0
        self.updater = Updater(param, net.learnable, net.dialect)
        self.requests = monitor.Requests()
        self.stopped = False
        self.signal = 0
        self.listeners: list[Listener] = [
            CaffeLines(self.log, param, net, self.test_nets),
            JsonLines(self.log),
            Advice(self.log),
        ]
        self._smoothed = monitor.SmoothedLoss(max(1, param.average_loss))
        self._keep_smoothed = False
        self._pulls = Pulls(net)
        self._schedules = Schedules(param, net, self._pulls, self.log)
        self._terms = term_names(net)
        self._statistics = _statistics(net)
        self._kept_statistics = [torch.empty_like(blob) for blob in self._statistics]
        self._debug = DebugInfo(self.log) if param.debug_info else None
        self._last_snapshot: Path | None = None
        self._saved_iter = -1
        self._begun: resume.Position | None = None
        self._torn = False

    @property
    def history(self) -> list[Tensor]:
        """The update rule's memory, in the order of a solverstate."""
        return self.updater.history

    def step(self, iterations: int = 1, inputs: Mapping[str, ArrayLike] | None = None) -> dict[str, Tensor]:
        """Makes `iterations` updates, with the tests and snapshots that fall due (Solver::Step).

        Args:
            iterations: number of updates.
            inputs: blobs that replace the data layers in every pass, also in each of the iter_size passes.

        Returns:
            The output blobs of the last pass, detached; empty if there was none. `listeners` are told the
            figures of every update.

        Raises:
            RlossError: the loss is not finite; the weights are then those of the iteration before.
        """
        self._begin()
        fed = self._inputs(inputs)
        outputs: Mapping[str, Tensor] = {}
        for _ in range(iterations):
            if self._test_due() and (self.iter > 0 or self.param.test_initialization):
                self._test_between(fed)
                if self.requests.stop:
                    break
            outputs = self.update(fed).outputs
            request = self.requests.take()
            if request == "snapshot" or (self.param.snapshot and self.iter % self.param.snapshot == 0):
                self.snapshot()
            if request == "stop":
                break
        return dict(outputs)

    def update(self, inputs: Mapping[str, ArrayLike] | None = None) -> StepFigures:
        """Makes one update: iter_size passes forward and backward, then the solver's rule. Nothing else.

        Args, raises: as `step`.

        Returns:
            Its figures, after the listeners were told them.
        """
        watch, fed = Stopwatch(), self._inputs(inputs)
        display = bool(self.param.display) and self.iter % self.param.display == 0
        self.updater.zero_gradients()
        with self._undone_if_it_fails(fed):
            losses = []
            for _ in range(self.param.iter_size):
                last = self._pass(fed, display)
                losses.append(last.losses)
            terms = monitor.means([_values(one) for one in losses])
            loss = sum(term.weighted for term in terms.values())
            monitor.check_finite(self.iter, loss, terms)
            shown = (
                {name: blob.flatten().tolist() for name, blob in last.outputs.items()} if display else None
            )
            step = policies.advance(self.param, self.iter, self.current_step)
            rate = policies.learning_rate(self.param, self.iter, step)
        self._torn = True
        clip = self.updater.apply(rate, self.iter)
        self._torn = False
        figures = StepFigures(
            iter=self.iter,
            loss=loss,
            smoothed_loss=self._smoothed.add(loss),
            lr=rate,
            terms=terms,
            seconds=watch.lap(),
            outputs=last.outputs,
            shown=shown,
            pulls=last.pulls,
            pulls_at=self._pulls.blob,
            clip=clip,
            new_step=step if self.param.lr_policy == "multistep" and step != self.current_step else None,
        )
        self._schedules.settle(self.iter)
        self.current_step = step
        self.iter += 1
        for listener in self.listeners:
            listener.updated(figures)
        return figures

    def solve(self) -> Path | None:
        """Trains until max_iter and writes the last snapshot (Solver::Solve).

        SIGINT and SIGTERM stop after the running iteration with a snapshot; SIGHUP writes a snapshot. An
        error after the first iteration leaves a snapshot of the last whole one.

        Returns:
            The solver state written last, None if there is none.
        """
        if self.param.max_iter < 1:
            raise PrototxtError(
                "max_iter is not set",
                found=f"max_iter: {self.param.max_iter}",
                expected="the number of iterations to train",
                advice="set max_iter in the solver prototxt, or give --max-iter",
            )
        self.log.info(f"Solving {self.net.name}")
        self.log.info(f"Learning Rate Policy: {self.param.lr_policy}")
        self.stopped, self.signal = False, 0
        with self.requests.listening():
            with self._saved_if_it_fails():
                self.step(self.param.max_iter - self.iter)
            self.stopped, self.signal = self.requests.stop, self.requests.signal
            due = not self.param.snapshot or self.iter % self.param.snapshot != 0
            if due and (self.param.snapshot_after_train or self.stopped):
                self.snapshot()
            if self.stopped:
                self.log.info("Optimization stopped early.")
            else:
                self._last_figures()
                self.log.info("Optimization Done.")
        return self._last_snapshot

    def test_all(self) -> list[dict[str, list[float]]]:
        """Runs every test net for its test_iter batches; output blob -> mean values, per net."""
        return [scores for index in range(len(self.test_nets)) if (scores := self._test(index)) is not None]

    def load_weights(self, path: str | Path, *, skip_mismatched: bool = False) -> None:
        """Copies weights by layer name into the training net, which the test nets share.

        Args:
            skip_mismatched: layers whose blobs differ in number or size, as with another number of classes,
                keep their fillers' values and are named in a warning.

        Raises:
            WeightsError: damaged file, or blobs that do not fit and are not to be skipped.
        """
        self.log.info(f"Finetuning from {path}")
        if skip_mismatched:
            fitted = self.net.copy_fitting(path)
            copied, ignored = list(fitted.copied), list(fitted.ignored)
            for name, why in fitted.anew.items():
                self.log.warning(f"Layer {name!r} starts anew: {why} ({path})")
        else:
            copied, ignored = self.net.copy_from(path)
        for name in ignored:
            self.log.info(f"Ignoring source layer {name}")
        self._tell_copied(path, copied)

    def snapshot(self) -> Path:
        """Writes weights, solver state and resume file; returns the path of the solver state.

        Raises:
            RlossError: a weight is not finite (nothing is written then), or the folder cannot be written.
        """
        self._check_weights()
        hdf5 = self.param.snapshot_format == SolverParameter.HDF5
        files = snapshot.file_names(self.prefix, self.iter, hdf5)
        kind = "HDF5" if hdf5 else "binary proto"
        self.log.info(f"Snapshotting to {kind} file {files.model}")
        at = self._begun or self._position()
        tag = resume.Tag(self.run, self.seed, self.iter, self.snapshots)
        state = SolverState(
            self.iter,
            str(files.model),
            [as_array(blob) for blob in self.history],
            self.current_step,
        )
        self.log.info(f"Snapshotting solver state to {kind} file {files.state}")
        diffs = self.updater.last_diffs() if self.param.snapshot_diff else None
        snapshot.write(files, self.net, state, lambda digests: resume.content(at, tag, digests), diffs)
        self._last_snapshot, self._saved_iter = files.state, self.iter
        self.snapshots += 1
        for listener in self.listeners:
            listener.saved(Saved(self.iter, files.model, files.state))
        return files.state

    def restore(self, path: str | Path) -> None:
        """Goes on from a snapshot of Caffe's or our own, binary or HDF5 (Solver::Restore).

        With the resume file that `snapshot` writes, training goes on exactly as if it had not stopped (bit
        for bit on the CPU); without it, as in Caffe, data and random draws start anew.

        Raises:
            WeightsError: a file is missing or damaged, or weights or history do not fit.
        """
        file = Path(path)
        resume_file = resume.file_name(file)
        extras = resume.read(resume_file)
        model = snapshot.check_digests(file, extras)
        state = load_solverstate(file)
        snapshot.check_history(state.history, self.history, file, self.updater.type)
        if model is not None:
            self.net.copy_from(model)
        self.log.info(f"{self.updater.type}Solver: restoring history")
        with torch.no_grad():
            for target, array in zip(self.history, state.history, strict=True):
                target.copy_(torch.from_numpy(np.array(array)).reshape(target.shape))
        self.iter = state.iter
        self.current_step = state.current_step
        if extras is None:
            self.log.info("No resume file beside it: data order and random state start anew, as in Caffe")
        else:
            nets = [self.net, *self.test_nets]
            self.seed = resume.apply(extras, resume_file, nets, self._smoothed, self._schedules)
            self._keep_smoothed = True
            self.run = extras.get("run") or self.run
            self.snapshots = extras.get("number", -1) + 1
        self._saved_iter = self.iter
        for listener in self.listeners:
            listener.resumed(Resumed(self.iter, file, extras is not None))

    def _begin(self) -> None:
        """Caffe forgets the displayed loss's window with every Step call; a resumed run keeps it."""
        if not self._keep_smoothed:
            self._smoothed.restart()
        self._keep_smoothed = False
        for listener in self.listeners:
            listener.started(self.iter)

    def _position(self) -> resume.Position:
        return resume.position([self.net, *self.test_nets], self._smoothed, self._schedules)

    @contextlib.contextmanager
    def _undone_if_it_fails(self, fed: Mapping[str, Tensor] | None = None) -> Iterator[None]:
        """Lets no trace of passes that fail stay in data positions, generators and statistics.

        A caller who feeds batches knows where they stand; data sources are then left alone.
        """
        if self._statistics:
            torch._foreach_copy_(self._kept_statistics, self._statistics)
        begun = self._position() if fed is None else None
        self._begun = begun
        try:
            yield
        except Exception:
            if self._statistics:
                torch._foreach_copy_(self._statistics, self._kept_statistics)
            if begun is not None:
                resume.put_back(begun, [self.net, *self.test_nets], self._smoothed, self._schedules)
            raise
        finally:
            self._begun = None

    @contextlib.contextmanager
    def _saved_if_it_fails(self) -> Iterator[None]:
        """Leaves a snapshot of the last whole iteration when an error ends a training."""
        start = self.iter
        try:
            yield
        except Exception:
            if self.iter > start and not self._torn:
                self._save_what_is_there()
            raise

    def _save_what_is_there(self) -> None:
        """A snapshot, unless there is one of this iteration; what keeps it away does not hide the error."""
        with self.log.best_effort():
            try:
                if self._saved_iter != self.iter:
                    self.snapshot()
                where = f"snapshot of iteration {self.iter}: {self._last_snapshot}"
                self.log.warning(f"Stopped by an error; {where}; --resume auto goes on from it")
            except Exception as error:
                reason = str(error).replace("\n", " ")
                self.log.warning(f"Stopped by an error, and no snapshot could be written: {reason}")

    def _test_between(self, fed: Mapping[str, Tensor] | None) -> None:
        """A test between two updates; one that fails or is interrupted will be made again, from its start."""
        with self._undone_if_it_fails(fed):
            begun = self._begun
            self.test_all()
            if self.requests.stop and begun is not None:
                resume.put_back(begun, [self.net, *self.test_nets], self._smoothed, self._schedules)

    def _tell_copied(self, path: str | Path, copied: Sequence[str]) -> None:
        layers = f"{counted(len(self.net.params), 'layer')} with weights"
        if copied:
            self.log.info(f"Copied {len(copied)} of {layers} from {path}")
        else:
            self.log.warning(f"{path} has no layer in common with the net: none of {layers} was copied")

    def _pass(self, fed: Mapping[str, Tensor] | None, display: bool) -> _Pass:
        """One pass forward and backward; a displayed one is watched."""
        debug = self._debug if display else None
        with self._pulls.watching(display or self._schedules.measures(self.iter)):
            result = self.net.run(fed, watch=debug, plan=self._schedules.plan(self.iter))
        self._schedules.measure(self.iter, result.losses)
        pulls = {self._terms[top]: norm for top, norm in self._pulls.measure(result.losses).items()}
        if result.loss.requires_grad:
            result.loss.backward()
        if debug is not None:
            debug.after_backward(self.net)
        outputs = {name: blob.detach() for name, blob in result.outputs.items()}
        losses = {
            self._terms[top]: (value.detach(), weight) for top, (value, weight) in result.losses.items()
        }
        return _Pass(losses, outputs, pulls)

    def _last_figures(self) -> None:
        """One more forward pass and test, only for their figures, where display and test_interval fit."""
        if self.param.display and self.iter % self.param.display == 0:
            with torch.no_grad():
                loss = self.net.run(None, plan=self._schedules.plan(self.iter)).loss.item()
            self._smoothed.add(loss)
            self.log.info(f"Iteration {self.iter}, loss = {number(self._smoothed.value)}")
        if self._test_due():
            self.test_all()

    def _test_due(self) -> bool:
        return self.param.test_interval > 0 and self.iter % self.param.test_interval == 0

    @torch.no_grad()
    def _test(self, index: int) -> dict[str, list[float]] | None:
        """Mean outputs of one test net (Solver::Test); None if a request to stop came in between."""
        net, batches = self.test_nets[index], self.param.test_iter[index]
        self.log.info(f"Iteration {self.iter}, Testing net (#{index})")
        totals: dict[str, np.ndarray] = {}
        loss = 0.0
        for _ in range(batches):
            while (request := self.requests.take()) is not None:
                if request == "snapshot":
                    self.snapshot()
            if self.requests.stop:
                self.log.info("Test interrupted.")
                return None
            result = net.run(None, watch=self._debug)
            loss += result.loss.item() if self.param.test_compute_loss else 0.0
            for name, blob in result.outputs.items():
                values = blob.detach().double().flatten().cpu().numpy()
                totals[name] = totals[name] + values if name in totals else values
        scores = {name: (total / batches).tolist() for name, total in totals.items()}
        mean = loss / batches if self.param.test_compute_loss and batches else None
        for listener in self.listeners:
            listener.tested(TestFigures(self.iter, index, mean, scores))
        return scores

    def _inputs(self, inputs: Mapping[str, ArrayLike] | None) -> dict[str, Tensor] | None:
        if inputs is None:
            return None
        device = self.net.device
        return {
            name: torch.as_tensor(value, dtype=torch.float32, device=device) for name, value in inputs.items()
        }

    def _check_weights(self) -> None:
        for entry in self.net.learnable:
            if not torch.isfinite(entry.tensor).all():
                raise RlossError(
                    f"weights are not finite numbers after iteration {self.iter - 1}",
                    where=f"layer {entry.layer!r}, blob {entry.index}",
                    found="NaN or infinity",
                    expected="finite weights in a snapshot",
                    advice="no snapshot was written or changed; lower base_lr or set clip_gradients, then "
                    "resume from the last snapshot",
                )


def _shown(outputs: Mapping[str, Tensor]) -> dict[str, list[float]]:
    return {name: blob.flatten().tolist() for name, blob in outputs.items()}


def _statistics(net: Net) -> list[Tensor]:
    """The blobs that passes themselves change: running means and variances."""
    return [
        blob.detach()
        for layer in net.layers
        if layer.module.default_lr_mult == 0
        for blob in layer.module.blobs
    ]


def _values(losses: Mapping[str, tuple[Tensor, float]]) -> dict[str, Term]:
    """The terms of a pass as numbers, fetched from the device in one go."""
    if not losses:
        return {}
    values = torch.stack([value for value, _ in losses.values()]).tolist()
    return {
        name: Term(value, weight) for value, (name, (_, weight)) in zip(values, losses.items(), strict=True)
    }
