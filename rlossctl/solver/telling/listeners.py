"""Who is told the figures of a training: Caffe's log lines, the JSON lines, advice on the objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlossctl.net import Net
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.telling.figures import Improved, Resumed, Saved, StepFigures, TestFigures, term_names
from rlossctl.solver.telling.log import Log, Pace, number, output_lines
from rlossctl.solver.telling.monitor import TermShares

RECORDED_VALUES = 16  # output blobs with more elements are left out of the JSON lines


class Listener:
    """Is told what a solver does, right after it did it. This one does nothing; derive from it."""

    def started(self, iteration: int) -> None:
        """A call of `step` begins, after so many updates."""

    def updating(self, iteration: int) -> None:
        """An update begins, after so many."""

    def applying(self, iteration: int) -> None:
        """The gradients of an update are there, and are applied next."""

    def updated(self, figures: StepFigures) -> None:
        """An update was made."""

    def testing(self, passes: int) -> None:
        """A test net has made so many passes of a test."""

    def tested(self, figures: TestFigures) -> None:
        """A test net was run."""

    def improved(self, best: Improved) -> None:
        """A test was the best so far."""

    def saved(self, snapshot: Saved) -> None:
        """A snapshot was written."""

    def resumed(self, snapshot: Resumed) -> None:
        """Training goes on from a snapshot."""


class CaffeLines(Listener):
    """Writes Caffe's log lines of updates and tests.

    Args:
        param: the SolverParameter.
        net, test_nets: whose figures they are.
    """

    def __init__(self, log: Log, param: SolverParameter, net: Net, test_nets: Sequence[Net]) -> None:
        self._log = log
        self._param = param
        self._terms = {top: term for top, term in term_names(net).items() if top in net.loss_weights}
        self._regularized = bool(net.regularizers)
        self._test_weights = [test_net.loss_weights for test_net in test_nets]
        self._pace = Pace() if net.dialect == "bvlc" else None

    def started(self, iteration: int) -> None:
        """BVLC counts the pace from here."""
        if self._pace is not None:
            self._pace.restart(iteration)

    def updated(self, figures: StepFigures) -> None:
        """The displayed loss, outputs and rate, and what the update did that the prototxt does not say."""
        if figures.shown is not None:
            self._display(figures, figures.shown)
        if figures.new_step is not None:
            self._log.info(f"MultiStep Status: Iteration {figures.iter}, step = {figures.new_step}")
        if figures.shown is not None:
            self._log.info(f"Iteration {figures.iter}, lr = {number(figures.lr)}")
        if figures.clip is not None:
            self._log.info(
                f"Gradient clipping: scaling down gradients (L2 norm {number(figures.clip.norm)} > "
                f"{number(self._param.clip_gradients)}) by scale factor {number(figures.clip.scale)}"
            )

    def tested(self, figures: TestFigures) -> None:
        """The test net's outputs; scores by class in one line."""
        if figures.loss is not None:
            self._log.info(f"Test loss: {number(figures.loss)}")
        by_class = {name for name in figures.counted if len(figures.outputs[name]) > 1}
        single = {name: values for name, values in figures.outputs.items() if name not in by_class}
        self._outputs("Test", single, self._test_weights[figures.net])
        for name in sorted(by_class):  # not one line each: a list of 150 classes would bury the rest
            self._log.info(f"    Test net {name}: {', '.join(map(number, figures.outputs[name]))}")

    def improved(self, best: Improved) -> None:
        """The best test and its weights."""
        kept = "" if best.model is None else f"; its weights: {best.model}"
        self._log.info(f"Iteration {best.iter}, best {best.blob} so far = {number(best.value)}{kept}")

    def _display(self, figures: StepFigures, shown: Mapping[str, list[float]]) -> None:
        pace = "" if self._pace is None else self._pace.lap(figures.iter, self._param.display)
        self._log.info(f"Iteration {figures.iter}{pace}, loss = {number(figures.smoothed_loss)}")
        terms = figures.terms  # with the weights in force
        in_force = {top: terms[term].weight for top, term in self._terms.items() if term in terms}
        self._outputs("Train", shown, in_force)
        # Only beside a regularizer, so that the lines of other nets are Caffe's alone.
        if figures.pulls and self._regularized:
            pulls = ", ".join(f"{name} {number(pull)}" for name, pull in figures.pulls.items())
            self._log.info(f"    Gradients at {figures.pulls_at}: {pulls}")

    def _outputs(self, kind: str, outputs: Mapping[str, list[float]], weights: Mapping[str, float]) -> None:
        for line in output_lines(kind, outputs.items(), weights):
            self._log.info(line)


class JsonLines(Listener):
    """Writes a record of everything into the log's JSON lines."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def updated(self, figures: StepFigures) -> None:
        """Kind "train"."""
        terms = {name: self._term(name, figures) for name in figures.terms}
        momentum = {} if figures.momentum is None else {"momentum": figures.momentum}
        outputs = {} if figures.shown is None else {"outputs": _short(figures.shown)}
        self._log.record(
            "train",
            iter=figures.iter,
            loss=figures.loss,
            smoothed_loss=figures.smoothed_loss,
            lr=figures.lr,
            **momentum,
            terms=terms,
            seconds=figures.seconds,
            **outputs,
        )

    def tested(self, figures: TestFigures) -> None:
        """Kind "test"."""
        counted = {name: figures.outputs[name] for name in figures.counted}
        outputs = dict(sorted({**_short(figures.outputs), **counted}.items()))
        more = {"counted": list(counted)} if counted else {}
        self._log.record("test", iter=figures.iter, net=figures.net, outputs=outputs, **more)

    def improved(self, best: Improved) -> None:
        """Kind "best"."""
        model = None if best.model is None else str(best.model)
        self._log.record("best", iter=best.iter, output=best.blob, value=best.value, model=model)

    def saved(self, snapshot: Saved) -> None:
        """Kind "snapshot"."""
        files = {"model": str(snapshot.model), "state": str(snapshot.state)}
        self._log.record("snapshot", iter=snapshot.iter, **files)

    def resumed(self, snapshot: Resumed) -> None:
        """Kind "resume"."""
        self._log.record("resume", iter=snapshot.iter, state=str(snapshot.state), exact=snapshot.exact)

    @staticmethod
    def _term(name: str, figures: StepFigures) -> dict[str, float]:
        term = figures.terms[name]
        pull = {"pull": figures.pulls[name]} if name in figures.pulls else {}
        return {"value": term.value, "weight": term.weight, "weighted": term.weighted, **pull}


class Advice(Listener):
    """Warns once in the log when a regularizer pulls too hard."""

    def __init__(self, log: Log, net: Net) -> None:
        self._log = log
        self._shares = TermShares(net.regularizers)

    def updated(self, figures: StepFigures) -> None:
        """Weighs the terms of an update against each other, where their pulls were measured."""
        advice = self._shares.add(figures.terms, figures.pulls)
        if advice:
            self._log.warning(advice)


def _short(outputs: Mapping[str, list[float]]) -> dict[str, list[float]]:
    return {name: values for name, values in outputs.items() if len(values) <= RECORDED_VALUES}
