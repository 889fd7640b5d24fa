"""What changes in the course of a training: when a loss begins to count, how its weight grows, a weight
that is chosen by measurement (loss_schedule), and layers that are told how much of the training is done."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypedDict

from torch import Tensor

from rlossctl.net import Net
from rlossctl.net.plan import Plan, needless
from rlossctl.net.walk import LayerNode
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.telling.log import Log, number
from rlossctl.solver.updating.term_gradients import Pulls


class Measured(TypedDict):
    """Where the choice of a weight stands, as JSON can hold it.

    Attributes:
        weight: what was chosen; None while it is being measured.
        since: the first iteration with it.
        passes: how many were measured.
        own, others: sums of the pulls, of the loss without its weight and of all others (see `Pulls`).
    """

    weight: float | None
    since: int
    passes: int
    own: float
    others: float


State = dict[str, Measured]


@dataclass
class _Schedule:
    """The schedule of one layer; `measured` is None without `pull`."""

    number: int
    layer: LayerNode
    start: int
    measured: Measured | None

    def factor(self, iteration: int) -> float:
        """What the layer's loss weights are multiplied by."""
        start, full = self.start, 1.0
        if self.measured is not None:
            if self.measured["weight"] is None:
                return 0.0
            start, full = self.measured["since"], self.measured["weight"] / self.weight
        if iteration < start:
            return 0.0
        ramp: int = self.layer.message.loss_schedule.ramp_iter
        return full * min(1.0, (iteration - start + 1) / ramp) if ramp else full

    def measures(self, iteration: int) -> bool:
        """Whether passes of this iteration are measured."""
        return self.measured is not None and self.measured["weight"] is None and iteration >= self.start

    @property
    def weight(self) -> float:
        """The prototxt's."""
        return next(weight for weight in self.layer.node.loss_weights if weight)

    @property
    def top(self) -> str:
        """The first weighted top."""
        weights = zip(self.layer.tops, self.layer.node.loss_weights, strict=True)
        return next(top for top, weight in weights if weight)


class Schedules:
    """The schedules of a training net's losses and layers.

    Args:
        param: the SolverParameter, for max_iter and iter_size.
        log: is told the weights that were chosen.

    Raises:
        NetError: a schedule that makes no sense.
    """

    def __init__(self, param: SolverParameter, net: Net, log: Log) -> None:
        self._param, self._layers, self._log = param, net.layers, log
        self._pulls = Pulls(net)
        self._all = [
            self._read(number, layer)
            for number, layer in enumerate(net.layers)
            if layer.message.HasField("loss_schedule")
        ]
        self._told = [layer.module for layer in net.layers if layer.module.progress(0)]

    def begin(self, iteration: int) -> None:
        """Before a pass of this iteration: tells the layers that ask how much of the training is done."""
        for module in self._told:
            module.progress(min(1, iteration / max(1, self._param.max_iter)))

    def plan(self, iteration: int) -> Plan:
        """How the losses count in this iteration."""
        factors = {one.number: one.factor(iteration) for one in self._all}
        off = {one.number for one in self._all if not factors[one.number] and not one.measures(iteration)}
        return Plan(
            {n: f for n, f in factors.items() if f != 1}, needless(self._layers, off) if off else frozenset()
        )

    def full(self, iteration: int) -> bool:
        """Whether this iteration's passes are as all others: all losses at their full weight."""
        return not self._told and all(one.factor(iteration) == 1 for one in self._all)

    def watching(self, iteration: int) -> contextlib.AbstractContextManager[None]:
        """Within it runs a pass that `measure` then takes."""
        return self._pulls.watching(any(one.measures(iteration) for one in self._all))

    def measure(self, iteration: int, losses: Mapping[str, tuple[Tensor, float]]) -> None:
        """Takes the pulls of the pass that was watched, before its backward pass."""
        for one, measured in self._measuring(iteration):
            others = [value * weight for top, (value, weight) in losses.items() if weight and top != one.top]
            if not others:  # they begin later
                continue
            own, rest = self._pulls.of([losses[one.top][0], sum(others[1:], others[0])])
            measured["own"] += own
            measured["others"] += rest
            measured["passes"] += 1
        self._pulls.forget()

    def settle(self, iteration: int) -> None:
        """After an update: fixes the weights whose windows have ended."""
        for one, measured in self._measuring(iteration):
            schedule = one.layer.message.loss_schedule
            if measured["passes"] < schedule.pull_iter * max(1, self._param.iter_size):
                continue
            if not measured["own"] > 0:
                self._log.warning(
                    f"Layer {one.layer.name!r} has no gradient at {self._pulls.blob}, so that pull cannot "
                    f"choose its weight; it is measured for another {schedule.pull_iter} iterations"
                )
                measured.update(_nothing())
                continue
            weight = schedule.pull * measured["others"] / measured["own"]
            measured["weight"], measured["since"] = weight, iteration + 1
            self._log.info(
                f"Layer {one.layer.name!r}: with loss_weight: {number(weight)} its gradient at "
                f"{self._pulls.blob} is {number(schedule.pull)} of the other losses', measured over "
                f"{schedule.pull_iter} iterations. This weight is in force from now on; to keep it for other "
                "trainings, write it into the prototxt in place of pull"
            )

    def state(self) -> State:
        """What a resume file keeps: the measured weights by layer."""
        return {one.layer.name: one.measured.copy() for one in self._all if one.measured is not None}

    def restore(self, state: State) -> None:
        """Continues from a `state()`; layers that are not in it are measured anew."""
        for one in self._all:
            if one.measured is not None:
                one.measured.update(state.get(one.layer.name, _nothing()))

    def _measuring(self, iteration: int) -> Iterator[tuple[_Schedule, Measured]]:
        for one in self._all:
            if one.measures(iteration) and one.measured is not None:
                yield one, one.measured

    def _read(self, number: int, layer: LayerNode) -> _Schedule:
        schedule = layer.message.loss_schedule
        error = layer.module.error
        if not any(layer.node.loss_weights):
            raise error(
                "has a loss_schedule, but no weight",
                found="no loss_weight",
                expected="a loss_weight",
                advice="add it",
            )
        if not 0 <= schedule.start_ratio < 1:
            raise error(
                "start_ratio is out of range", found=schedule.start_ratio, expected="0 up to, but not, 1"
            )
        if not 0 <= schedule.pull < math.inf or (schedule.pull and not schedule.pull_iter):
            found = f"pull: {schedule.pull:g} pull_iter: {schedule.pull_iter}"
            raise error("cannot be measured", found=found, expected="pull from 0 and pull_iter from 1")
        if schedule.pull and self._pulls.blob is None:
            raise error(
                "has nothing to pull against",
                found="pull without another loss of the same scores",
                expected="two losses or more that need a common blob with learned layers before it",
                advice="give loss_weight instead of pull",
            )
        start = schedule.start_iter
        if schedule.start_ratio:  # the first iteration beyond that share
            start = max(start, math.floor(round(schedule.start_ratio * self._param.max_iter, 3)) + 1)
        return _Schedule(number, layer, start, _nothing() if schedule.pull else None)


def _nothing() -> Measured:
    return {"weight": None, "since": 0, "passes": 0, "own": 0.0, "others": 0.0}
