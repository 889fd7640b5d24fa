"""The best of a run's tests: the solver's fields monitor, patience and snapshot_best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from rlossctl.errors import PrototxtError
from rlossctl.net import Net
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.telling.figures import TestFigures

_SIGNS = {"max": 1, "min": -1}


@dataclass
class Standing:
    """How the tests of a run have gone so far; kept in its snapshots.

    Attributes:
        value: the best value, None before the first.
        iter: updates made before it was found.
        waited: tests since then.
        tested: updates made before the last test that counts here.
    """

    value: float | None = None
    iter: int = -1
    waited: int = 0
    tested: int = -1


class Goal(NamedTuple):
    """What a run is to reach: a test net's output, the greatest (sign 1) or least (-1) value."""

    blob: str
    net: int
    sign: int


class Best:
    """Watches the output that `monitor` names.

    Args:
        param: the solver's message.
        nets: the test nets; None where another process tests.

    Raises:
        PrototxtError: monitor names no output with one value, or patience and snapshot_best go without it.
    """

    def __init__(self, param: SolverParameter, nets: Sequence[Net] | None) -> None:
        self.goal = None if nets is None else _goal(param, nets)
        self.snapshots = param.snapshot_best
        self._patience = param.patience

    def value(self, figures: TestFigures) -> float | None:
        """The watched value of a test; None if it is another net's."""
        if self.goal is None or figures.net != self.goal.net:
            return None
        return figures.outputs[self.goal.blob][0]

    def add(self, standing: Standing, figures: TestFigures) -> bool:
        """Counts a test, once; whether it is the best so far."""
        value = self.value(figures)
        if self.goal is None or value is None or figures.iter == standing.tested:
            return False
        standing.tested = figures.iter
        sign = self.goal.sign
        if value == value and (standing.value is None or sign * value > sign * standing.value):
            standing.value, standing.iter, standing.waited = value, figures.iter, 0
            return True
        standing.waited += 1
        return False

    def exhausted(self, standing: Standing) -> bool:
        """Whether so many tests without gain have passed that the run shall end."""
        return 0 < self._patience <= standing.waited


def _goal(param: SolverParameter, nets: Sequence[Net]) -> Goal | None:
    _check_fields(param)
    if not param.monitor:
        return None
    outputs = {name: prod(net.shapes[name]) for net in nets for name in net.outputs}
    single = ", ".join(name for name, size in outputs.items() if size == 1) or "none"
    sign, _, blob = param.monitor.partition(" ")
    blob = blob.strip()
    if sign not in _SIGNS or outputs.get(blob) != 1:
        several = f"; {blob} has {outputs[blob]} values" if outputs.get(blob, 1) != 1 else ""
        raise PrototxtError(
            "monitor does not name what a test gives",
            found=f"monitor: {param.monitor!r}{several}",
            expected=f"max or min, and an output of a test net with one value: {single}",
            advice='write for example monitor: "max mIoU"'
            if nets
            else "add a test net with test_interval, or remove monitor",
        )
    index = next(index for index, net in enumerate(nets) if blob in net.outputs)
    return Goal(blob, index, _SIGNS[sign])


def _check_fields(param: SolverParameter) -> None:
    if param.patience < 0:
        raise PrototxtError(
            "patience is out of range",
            found=f"patience: {param.patience}",
            expected="the number of tests without gain after which a run ends; 0 for never",
            advice="correct patience in the solver prototxt",
        )
    for field in ("patience", "snapshot_best"):
        if getattr(param, field) and not param.monitor:
            raise PrototxtError(
                f"{field} needs a figure to go by",
                found=f"{field} without monitor",
                expected='monitor: "max mIoU", or another output of a test net',
                advice=f"set monitor in the solver prototxt, or remove {field}",
            )
