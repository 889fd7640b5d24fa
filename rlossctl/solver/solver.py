"""Caffe's training loop (Solver::Step, Solve, Test, Snapshot, Restore) over a Net."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from google.protobuf.message import Message
from torch import Tensor

from rlossctl.errors import PrototxtError, RlossError
from rlossctl.net import Net
from rlossctl.net.graph import AUTOMATIC
from rlossctl.net.saved import as_array
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver import monitor, policies, resume, snapshot
from rlossctl.solver.debug import DebugInfo
from rlossctl.solver.log import Log, Pace, Stopwatch, number, output_lines, warnings_to_stderr
from rlossctl.solver.term_gradients import Pulls
from rlossctl.solver.updates import Updater
from rlossctl.weights import SolverState, load_solverstate

RECORDED_VALUES = 16  # output blobs with more elements are left out of the JSON lines


class Solver:
    """Trains a net as Caffe's solver of the same prototxt does. Made by `rlossctl.load_solver`.

    Attributes:
        net: the training net.
        test_nets: the test nets; they use the training net's weights.
        iter: number of updates made.
        param: the SolverParameter.
        prefix: where snapshots go: `<prefix>_iter_<iter>.caffemodel` and so on.
        seed: what the random generators were started with.
        log: takes Caffe's log lines and the JSON lines.
        stopped: whether SIGINT ended the last `solve` early.
        on_iteration: called after every update with this solver and the figures of the JSON line.
    """

    def __init__(
        self,
        param: Message,
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
        self.log = log or Log([warnings_to_stderr])
        self.iter = 0
        self.current_step = 0
        self.updater = Updater(param, net.learnable, net.dialect)
        self.requests = monitor.Requests()
        self.stopped = False
        self.on_iteration: Callable[[Solver, dict[str, object]], None] | None = None
        self._smoothed = monitor.SmoothedLoss(max(1, param.average_loss))
        self._keep_smoothed = False
        self._shares = monitor.TermShares()
        self._pulls = Pulls(net)
        self._terms = _term_names(net)
        self._debug = DebugInfo(self.log) if param.debug_info else None
        self._pace = Pace() if net.dialect == "bvlc" else None
        self._last_snapshot: tuple[int, Path] | None = None

    @property
    def _nets(self) -> list[Net]:
        return [self.net, *self.test_nets]

    @property
    def history(self) -> list[Tensor]:
        """The update rule's memory, in the order of a solverstate."""
        return self.updater.history

    def step(self, iterations: int = 1, inputs: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Makes `iterations` updates, with the tests and snapshots that fall due (Solver::Step).

        Args:
            iterations: number of updates.
            inputs: blobs that replace the data layers in every pass, also in each of the iter_size passes.

        Returns:
            The output blobs of the last pass, detached; empty if there was none.

        Raises:
            RlossError: the loss is not finite; the weights are then those of the iteration before.
        """
        if not self._keep_smoothed:
            self._smoothed.restart()
        self._keep_smoothed = False
        fed = self._inputs(inputs)
        if self._pace is not None:
            self._pace.restart(self.iter)
        outputs: dict[str, Tensor] = {}
        for _ in range(iterations):
            if self._test_due() and (self.iter > 0 or self.param.test_initialization):
                self.test_all()
                if self.requests.stop:
                    break
            outputs = self._iterate(fed)
            request = self.requests.take()
            if request == "snapshot" or (self.param.snapshot and self.iter % self.param.snapshot == 0):
                self.snapshot()
            if request == "stop":
                break
        return outputs

    def solve(self) -> Path | None:
        """Trains until max_iter and writes the last snapshot (Solver::Solve).

        SIGINT stops after the running iteration with a snapshot; SIGHUP writes a snapshot.

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
        with self.requests.listening():
            self.step(self.param.max_iter - self.iter)
            self.stopped = self.requests.stop
            due = not self.param.snapshot or self.iter % self.param.snapshot != 0
            if due and (self.param.snapshot_after_train or self.stopped):
                self.snapshot()
            if self.stopped:
                self.log.info("Optimization stopped early.")
            else:
                self._last_figures()
                self.log.info("Optimization Done.")
        return self._last_snapshot[1] if self._last_snapshot else None

    def test_all(self) -> list[dict[str, list[float]]]:
        """Runs every test net for its test_iter batches; output blob -> mean values, per net."""
        return [scores for index in range(len(self.test_nets)) if (scores := self._test(index)) is not None]

    def load_weights(self, path: str | Path) -> None:
        """Copies weights by layer name into the training net, which the test nets share."""
        self.log.info(f"Finetuning from {path}")
        _, ignored = self.net.copy_from(path)
        for name in ignored:
            self.log.info(f"Ignoring source layer {name}")

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
        state = SolverState(
            self.iter,
            str(files.model),
            [as_array(blob) for blob in self.history],
            self.current_step,
        )
        self.log.info(f"Snapshotting solver state to {kind} file {files.state}")
        extras = resume.capture(self._nets, self.iter, self.seed, self._smoothed)
        diffs = self.updater.last_diffs() if self.param.snapshot_diff else None
        snapshot.write(files, self.net, state, extras, diffs)
        self.log.record("snapshot", iter=self.iter, model=str(files.model), state=str(files.state))
        self._last_snapshot = (self.iter, files.state)
        return files.state

    def restore(self, path: str | Path) -> None:
        """Goes on from a snapshot of Caffe's or our own, binary or HDF5 (Solver::Restore).

        With the resume file that `snapshot` writes, training goes on exactly as if it had not stopped (bit
        for bit on the CPU); without it, as in Caffe, data and random draws start anew.

        Raises:
            WeightsError: a file is missing or damaged, or weights or history do not fit.
        """
        file = Path(path)
        state = load_solverstate(file)
        snapshot.check_history(state.history, self.history, file, self.updater.type)
        resume_file = resume.file_name(file)
        extras = resume.read(resume_file)
        if state.learned_net:
            self.net.copy_from(snapshot.find_model(state.learned_net, file))
        self.log.info(f"{self.updater.type}Solver: restoring history")
        with torch.no_grad():
            for target, array in zip(self.history, state.history, strict=True):
                target.copy_(torch.from_numpy(np.array(array)).reshape(target.shape))
        self.iter = state.iter
        self.current_step = state.current_step
        if extras is None:
            self.log.info("No resume file beside it: data order and random state start anew, as in Caffe")
        else:
            self.seed = resume.apply(extras, resume_file, self._nets, self._smoothed)
            self._keep_smoothed = True
        self.log.record("resume", iter=self.iter, state=str(file), exact=extras is not None)

    def _iterate(self, fed: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        """One iteration: iter_size passes forward and backward, then the update."""
        watch = Stopwatch()
        display = bool(self.param.display) and self.iter % self.param.display == 0
        debug = self._debug if display else None
        self.updater.zero_gradients()
        passes = []
        for _ in range(self.param.iter_size):
            with self._pulls.watching(display):
                result = self.net.run(fed, watch=debug)
            strengths = {self._terms[top]: norm for top, norm in self._pulls.measure(result.losses).items()}
            if result.loss.requires_grad:
                result.loss.backward()
            if debug is not None:
                debug.after_backward(self.net)
            passes.append(
                {self._terms[top]: (value.detach(), weight) for top, (value, weight) in result.losses.items()}
            )
        outputs = {name: blob.detach() for name, blob in result.outputs.items()}
        terms = monitor.sums([_values(entry) for entry in passes])
        loss = sum(value * weight for value, weight in terms.values())
        monitor.check_finite(self.iter, loss, terms)
        self._smoothed.add(loss)
        if display:
            pace = "" if self._pace is None else self._pace.lap(self.iter, self.param.display)
            self.log.info(f"Iteration {self.iter}{pace}, loss = {number(self._smoothed.value)}")
            self._log_outputs("Train", self.net, outputs)
            # Only beside a regularizer, so that the lines of other nets are Caffe's alone.
            if strengths and min(value * weight for value, weight in terms.values()) < 0:
                shown = ", ".join(f"{name} {number(norm)}" for name, norm in strengths.items())
                self.log.info(f"    Gradients at {self._pulls.blob}: {shown}")
        rate = self._update(display)
        figures = {
            "iter": self.iter,
            "loss": loss,
            "smoothed_loss": self._smoothed.value,
            "lr": rate,
            "terms": {
                name: {"value": value, "weight": weight, "weighted": value * weight}
                for name, (value, weight) in terms.items()
            },
            "seconds": watch.lap(),
        }
        for name, norm in strengths.items():
            figures["terms"][name]["pull"] = norm
        if display:
            figures["outputs"] = _recorded(outputs)
        self.log.record("train", **figures)
        advice = self._shares.add(terms, strengths)
        if advice:
            self.log.info(advice)
        self.iter += 1
        if self.on_iteration is not None:
            self.on_iteration(self, figures)
        return outputs

    def _update(self, display: bool) -> float:
        """The learning rate and the weights' update (SGDSolver::ApplyUpdate)."""
        step = policies.advance(self.param, self.iter, self.current_step)
        if self.param.lr_policy == "multistep" and step != self.current_step:
            self.log.info(f"MultiStep Status: Iteration {self.iter}, step = {step}")
        self.current_step = step
        rate = policies.learning_rate(self.param, self.iter, step)
        if display:
            self.log.info(f"Iteration {self.iter}, lr = {number(rate)}")
        clip = self.updater.apply(rate, self.iter)
        if clip is not None:
            self.log.info(
                f"Gradient clipping: scaling down gradients (L2 norm {number(clip.norm)} > "
                f"{number(self.param.clip_gradients)}) by scale factor {number(clip.scale)}"
            )
        return rate

    def _last_figures(self) -> None:
        """One more forward pass and test, only for their figures, where display and test_interval fit."""
        if self.param.display and self.iter % self.param.display == 0:
            with torch.no_grad():
                loss = self.net.run(None).loss.item()
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
        if self.param.test_compute_loss and batches:
            self.log.info(f"Test loss: {number(loss / batches)}")
        for line in output_lines("Test", scores.items(), net.loss_weights):
            self.log.info(line)
        short = {name: values for name, values in scores.items() if len(values) <= RECORDED_VALUES}
        self.log.record("test", iter=self.iter, net=index, outputs=short)
        return scores

    def _log_outputs(self, kind: str, net: Net, outputs: Mapping[str, Tensor]) -> None:
        values = [(name, blob.flatten().tolist()) for name, blob in outputs.items()]
        for line in output_lines(kind, values, net.loss_weights):
            self.log.info(line)

    def _inputs(self, inputs: Mapping[str, Tensor] | None) -> dict[str, Tensor] | None:
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


def _term_names(net: Net) -> dict[str, str]:
    """Weighted top -> what figures call it: a top that the prototxt does not name goes by its layer."""
    return {
        top: layer.name if top.startswith(AUTOMATIC) and layer.name not in net.loss_weights else top
        for layer in net.layers
        for top in layer.tops
    }


def _values(terms: Mapping[str, tuple[Tensor, float]]) -> dict[str, tuple[float, float]]:
    """The terms as numbers, fetched from the device in one go."""
    if not terms:
        return {}
    values = torch.stack([value for value, _ in terms.values()]).tolist()
    return {name: (value, weight) for value, (name, (_, weight)) in zip(values, terms.items(), strict=True)}


def _recorded(outputs: Mapping[str, Tensor]) -> dict[str, list[float]]:
    return {
        name: blob.flatten().tolist() for name, blob in outputs.items() if blob.numel() <= RECORDED_VALUES
    }
