"""Learning rate policies: functions of iteration and SolverParameter.

Those of Caffe (SGDSolver::GetLearningRate), cosine, onecycle, and a warm-up before any other. The iteration
counts from 0 and is the number of updates made so far. With lr_ahead, a schedule is ahead by as many
iterations: programs that count before they update use the second rate first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from rlossctl.errors import PrototxtError
from rlossctl.prototxt.messages import SolverParameter


class Policy(NamedTuple):
    """One policy: its formula and the SolverParameter fields it reads besides base_lr."""

    rate: Callable[[SolverParameter, int, int], float]
    fields: tuple[str, ...]


def learning_rate(param: SolverParameter, iteration: int, current_step: int | None = None) -> float:
    """The rate of one iteration, before any lr_mult.

    Args:
        param: the SolverParameter.
        iteration: updates made so far.
        current_step: multistep's count of passed steps after `advance`; by default what an uninterrupted
            run would have counted.

    Raises:
        PrototxtError: an unknown policy, a stepsize or max_iter that the policy cannot work with, a rate
            that is not finite, or a poly schedule that has ended.
    """
    if current_step is None:
        current_step = step_count(param, iteration)
    policy, time = lookup(param), iteration + param.lr_ahead
    if time < param.warmup_iter:
        return param.base_lr * (param.warmup_ratio + (1 - param.warmup_ratio) * time / param.warmup_iter)
    try:
        rate = policy.rate(param, time, current_step)
    except (OverflowError, ValueError):
        rate = math.nan
    if not math.isfinite(rate):
        settings = ", ".join(f"{name}: {getattr(param, name):g}" for name in ("base_lr", *policy.fields))
        raise PrototxtError(
            f"lr_policy {param.lr_policy!r} gives no finite learning rate",
            found=f"{settings} at iteration {iteration}",
            expected="a rate that is a number",
            advice="correct gamma and power in the solver prototxt",
        )
    return rate


class Rates(NamedTuple):
    """What the schedule says of one update.

    Attributes:
        lr: the rate, before any lr_mult.
        momentum: where the policy changes it; None: the solver's own.
        step: the count of passed steps, with this iteration.
        new_step: the same where multistep has just counted one, else None.
    """

    lr: float
    momentum: float | None
    step: int
    new_step: int | None


def rates(param: SolverParameter, iteration: int, current_step: int) -> Rates:
    """Rate and momentum of one iteration; `current_step` is the count of passed steps before it.

    Raises:
        PrototxtError: as `learning_rate`.
    """
    step = advance(param, iteration, current_step)
    new_step = step if param.lr_policy == "multistep" and step != current_step else None
    return Rates(learning_rate(param, iteration, step), momentum(param, iteration), step, new_step)


def momentum(param: SolverParameter, iteration: int) -> float | None:
    """The momentum of one iteration where the policy changes it; None: the solver's own."""
    if param.lr_policy != "onecycle":
        return None
    low, high = (as_written(value) for value in (param.onecycle.momentum_low, param.onecycle.momentum_high))
    rising, share = _one_cycle_phase(param, iteration + param.lr_ahead)
    return low + (high - low) * share if rising else high - (high - low) * share


def as_written(value: float) -> float:
    """A float32 field as the decimal number in the prototxt: 0.3, not 0.30000001192092896."""
    return float(f"{value:.7g}")


def step_count(param: SolverParameter, iteration: int) -> int:
    """Caffe's `current_step` after iteration `iteration` of an uninterrupted run; 0 for most policies.

    Multistep counts at most one step per iteration, so two equal stepvalues take effect one iteration
    apart.
    """
    if param.lr_policy == "step":
        return (iteration + param.lr_ahead) // positive(param, "stepsize")
    if param.lr_policy != "multistep":
        return 0
    count, free = 0, 0  # `free`: the first iteration at which the next step may be counted
    for value in param.stepvalue:
        passed = max(value - param.lr_ahead, free)
        if passed > iteration:
            break
        count, free = count + 1, passed + 1
    return count


def advance(param: SolverParameter, iteration: int, current_step: int) -> int:
    """The solver's `current_step` at this iteration, from its value at the one before.

    Differs from `step_count` only where a snapshot was made with other stepvalues: Caffe then goes on from
    the count in the snapshot.
    """
    time = iteration + param.lr_ahead
    if param.lr_policy == "step":
        return time // positive(param, "stepsize")
    if param.lr_policy == "multistep":
        due = current_step < len(param.stepvalue) and time >= param.stepvalue[current_step]
        return current_step + due
    return current_step


def lookup(param: SolverParameter) -> Policy:
    """The policy that the solver names.

    Raises:
        PrototxtError: there is none of that name.
    """
    try:
        return POLICIES[param.lr_policy]
    except KeyError:
        raise PrototxtError(
            "unknown learning rate policy",
            found=f"lr_policy: {param.lr_policy!r}" if param.HasField("lr_policy") else "no lr_policy",
            expected=", ".join(POLICIES),
            advice="correct lr_policy in the solver prototxt",
        ) from None


def unset_fields(param: SolverParameter) -> list[str]:
    """Fields that the policy reads and the solver does not set; they count as 0, in Caffe without a word."""
    return [name for name in ("base_lr", *lookup(param).fields) if not param.HasField(name)]


def positive(param: SolverParameter, name: str) -> int:
    """An integer field that must be at least 1; Caffe divides by it unchecked."""
    value = getattr(param, name)
    if value < 1:
        raise PrototxtError(
            f"lr_policy {param.lr_policy!r} needs {name}",
            found=f"{name}: {value}" if param.HasField(name) else f"no {name}",
            expected="a number of iterations above 0",
            advice=f"set {name} in the solver prototxt",
        )
    return value


def _poly(param: SolverParameter, time: int, _step: int) -> float:
    end = positive(param, "max_iter")
    if time > end + param.lr_ahead:
        raise PrototxtError(
            "the poly schedule has ended",
            found=f"iteration {time - param.lr_ahead}",
            expected=f"at most max_iter: {end}",
            advice="raise max_iter, which also stretches the schedule, or train on with lr_policy: 'fixed'",
        )
    return param.base_lr * math.pow(1 - min(time, end) / end, param.power)


def _cosine(param: SolverParameter, time: int, _step: int) -> float:
    """Half a cosine from base_lr to 0 (Loshchilov and Hutter 2017, eq. 5, without restarts)."""
    end = positive(param, "max_iter")
    return param.base_lr * _half_cosine(min(time, end), end)


def _one_cycle(param: SolverParameter, time: int, _step: int) -> float:
    """Half a cosine from base_lr / divide up to base_lr, another one down to base_lr / final_divide."""
    rising, share = _one_cycle_phase(param, time)
    end = param.base_lr / (param.onecycle.divide if rising else param.onecycle.final_divide)
    return param.base_lr - (param.base_lr - end) * (share if rising else 1 - share)


def _one_cycle_phase(param: SolverParameter, time: int) -> tuple[bool, float]:
    """Whether the rate rises, and how much of the half cosine of this phase is left."""
    end = positive(param, "max_iter")
    top = int(as_written(param.onecycle.rise) * end)
    if not 0 < top < end:
        raise PrototxtError(
            "onecycle has no iterations to rise or to fall",
            found=f"rise: {as_written(param.onecycle.rise):g} of max_iter: {end}",
            expected="at least one of each",
            advice="correct rise in onecycle, or raise max_iter",
        )
    rising = time <= top
    return rising, _half_cosine(time, top) if rising else _half_cosine(min(time, end) - top, end - top)


def _half_cosine(time: float, end: float) -> float:
    return (1 + math.cos(math.pi * time / end)) / 2


def _sigmoid(param: SolverParameter, iteration: int, _step: int) -> float:
    # BVLC refuses a negative gamma, the rloss fork takes it: only then does the rate fall.
    exponent = -param.gamma * (iteration - param.stepsize)
    return param.base_lr / (1 + math.exp(exponent)) if exponent < 700 else 0.0


def _stepped(param: SolverParameter, _iteration: int, step: int) -> float:
    return param.base_lr * math.pow(param.gamma, step)


def _inv(param: SolverParameter, iteration: int, _step: int) -> float:
    return param.base_lr * math.pow(1 + param.gamma * iteration, -param.power)


POLICIES = {
    "fixed": Policy(lambda param, _iteration, _step: param.base_lr, ()),
    "step": Policy(_stepped, ("gamma", "stepsize")),
    "exp": Policy(lambda param, iteration, _step: _stepped(param, iteration, iteration), ("gamma",)),
    "inv": Policy(_inv, ("gamma", "power")),
    "multistep": Policy(_stepped, ("gamma",)),
    "poly": Policy(_poly, ("power",)),
    "sigmoid": Policy(_sigmoid, ("gamma", "stepsize")),
    "cosine": Policy(_cosine, ()),
    "onecycle": Policy(_one_cycle, ()),
}
