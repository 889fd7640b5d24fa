"""Caffe's update rules: gradients in, parameters changed, history kept, for all parameters at once.

Order of one update (SGDSolver::ApplyUpdate): clip the summed gradients, divide by iter_size, add the weight
decay, apply the solver's rule, subtract. The learning rate is inside the velocity of SGD and Nesterov,
unlike torch.optim, so histories are interchangeable with Caffe's. AdamW is not Caffe's: it computes what
torch.optim.AdamW does, with the weight decay beside the gradients (Loshchilov and Hutter 2019, algorithm 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from rlossctl.errors import PrototxtError
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.solver.telling.figures import Clip
from rlossctl.solver.updating import policies


class Parameter(Protocol):
    """A learnable blob with its multipliers (rlossctl.net's Learnable)."""

    @property
    def tensor(self) -> Tensor: ...
    @property
    def lr_mult(self) -> float: ...
    @property
    def decay_mult(self) -> float: ...


class Hyper(NamedTuple):
    """The constants of the rules."""

    momentum: float
    momentum2: float
    delta: float
    rms_decay: float


class Group(NamedTuple):
    """Positions of the parameters that have one multiplier."""

    value: float
    members: list[int]


class Updater:
    """Applies the solver's rule to the parameters that learn.

    Attributes:
        type: the rule's name, as in SolverParameter.type.
        history: one tensor per parameter and slot, in Caffe's order (AdaDelta and Adam: the first slot of
            all parameters, then the second). Those of parameters with lr_mult 0 stay 0.

    Args:
        param: the SolverParameter.
        parameters: the net's learnable list.
        dialect: "rloss" has no default for rms_decay, so it is 0 there; elsewhere it is 0.99.

    Raises:
        PrototxtError: an unknown type, or constants that the rule does not allow.
    """

    def __init__(
        self, param: SolverParameter, parameters: Sequence[Parameter], dialect: str = "bvlc"
    ) -> None:
        self.type = param.type
        self._rule, self.slots = _rule(param)
        self._hyper = _hyper(param, dialect)
        self._iter_size = param.iter_size
        self._clip = param.clip_gradients
        self._l1 = param.regularization_type == "L1"
        self.parameters = list(parameters)
        self.history = [torch.zeros_like(p.tensor) for _ in range(self.slots) for p in self.parameters]
        self._active = [index for index, p in enumerate(self.parameters) if p.lr_mult != 0]
        active = [self.parameters[index] for index in self._active]
        self._weights = [p.tensor.detach() for p in active]
        self._rates = _grouped([p.lr_mult for p in active])
        self._decays = _grouped([param.weight_decay * p.decay_mult for p in active])
        self._decoupled: list[Group] = []
        if param.type == "AdamW":
            shares = [p.lr_mult * param.weight_decay * p.decay_mult for p in active]
            self._decays, self._decoupled = [], _grouped(shares)
        self.diffs: Tensors | None = None

    @torch.no_grad()
    def apply(self, rate: float, iteration: int, momentum: float | None = None) -> Clip | None:
        """One update from the gradients that `.grad` holds, summed over iter_size passes.

        A parameter without a gradient has gradient 0, so weight decay still moves it, as in Caffe. The
        gradients are used up.

        Args:
            rate: the policy's rate.
            iteration: updates made so far (Adam's bias correction).
            momentum: in place of the solver's.

        Returns:
            What was clipped, or None.
        """
        if not self._weights:
            return None
        grads = [self._gradient(index) for index in self._active]
        clip = self._clipped(grads)
        if self._iter_size > 1:
            torch._foreach_mul_(grads, 1.0 / self._iter_size)
        self._regularize(grads)
        slots = [
            [self.history[slot * len(self.parameters) + index] for index in self._active]
            for slot in range(self.slots)
        ]
        rates = [Group(rate * group.value, group.members) for group in self._rates]
        hyper = self._hyper if momentum is None else self._hyper._replace(momentum=momentum)
        self.diffs = self._rule(grads, slots, rates, hyper, iteration)
        self._shrink(rate)
        torch._foreach_sub_(self._weights, self.diffs)
        return clip

    def gradients(self) -> list[Tensor]:
        """The gradients that the next `apply` uses, of all parameters that learn."""
        for index in self._active:
            self.parameters[index].tensor.grad = self._gradient(index)
        return [self._gradient(index) for index in self._active]

    def zero_gradients(self) -> None:
        """Forgets the gradients of the last iteration."""
        for p in self.parameters:
            p.tensor.grad = None

    def follow(self, parameters: Sequence[Parameter]) -> None:
        """From here on updates other tensors of the same shapes, perhaps on another device."""
        self.parameters = list(parameters)
        self._weights = [self.parameters[index].tensor.detach() for index in self._active]
        self.history = [
            slot.to(self.parameters[index % len(self.parameters)].tensor.device)
            for index, slot in enumerate(self.history)
        ]

    def last_diffs(self) -> list[Tensor]:
        """Per parameter what the last update subtracted (Caffe's diff after Update, for snapshot_diff)."""
        diffs = [torch.zeros_like(p.tensor) for p in self.parameters]
        for index, diff in zip(self._active, self.diffs or [], strict=False):
            diffs[index] = diff
        return diffs

    def _gradient(self, index: int) -> Tensor:
        tensor = self.parameters[index].tensor
        return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad

    def _clipped(self, grads: list[Tensor]) -> Clip | None:
        if self._clip < 0:
            return None
        norm = torch.stack(torch._foreach_norm(grads)).norm().item()
        if norm <= self._clip:
            return None
        scale = self._clip / norm
        torch._foreach_mul_(grads, scale)
        return Clip(norm, scale)

    def _regularize(self, grads: list[Tensor]) -> None:
        for decay, members in self._decays:
            if decay:
                weights = [self._weights[index] for index in members]
                term = torch._foreach_sign(weights) if self._l1 else weights
                torch._foreach_add_([grads[index] for index in members], term, alpha=decay)

    def _shrink(self, rate: float) -> None:
        """Adds AdamW's weight decay to what is subtracted."""
        for share, members in self._decoupled:
            if share and self.diffs is not None:
                weights = [self._weights[index] for index in members]
                torch._foreach_add_([self.diffs[index] for index in members], weights, alpha=rate * share)


Tensors = tuple[Tensor, ...] | list[Tensor]
Rule = Callable[[list[Tensor], list[list[Tensor]], list[Group], Hyper, int], Tensors]


def _sgd(
    grads: list[Tensor], slots: list[list[Tensor]], rates: list[Group], hyper: Hyper, _iteration: int
) -> Tensors:
    """V = m V + r g; W -= V."""
    (velocity,) = slots
    torch._foreach_mul_(velocity, hyper.momentum)
    for rate, members in rates:
        torch._foreach_add_([velocity[i] for i in members], [grads[i] for i in members], alpha=rate)
    return velocity


def _nesterov(
    grads: list[Tensor], slots: list[list[Tensor]], rates: list[Group], hyper: Hyper, iteration: int
) -> Tensors:
    """V' = m V + r g; W -= (1 + m) V' - m V."""
    (velocity,) = slots
    before = torch._foreach_mul(velocity, hyper.momentum)
    _sgd(grads, slots, rates, hyper, iteration)
    update = torch._foreach_mul(velocity, 1 + hyper.momentum)
    torch._foreach_sub_(update, before)
    return update


def _adagrad(
    grads: list[Tensor], slots: list[list[Tensor]], rates: list[Group], hyper: Hyper, _iteration: int
) -> Tensors:
    """h += g^2; W -= r g / (sqrt h + delta)."""
    (squares,) = slots
    torch._foreach_addcmul_(squares, grads, grads)
    return _scaled(_over_root(grads, squares, hyper.delta), rates)


def _rmsprop(
    grads: list[Tensor], slots: list[list[Tensor]], rates: list[Group], hyper: Hyper, _iteration: int
) -> Tensors:
    """h = d h + (1 - d) g^2; W -= r g / (sqrt h + delta)."""
    (squares,) = slots
    _decayed_squares(squares, grads, hyper.rms_decay)
    return _scaled(_over_root(grads, squares, hyper.delta), rates)


def _adadelta(
    grads: list[Tensor], slots: list[list[Tensor]], rates: list[Group], hyper: Hyper, _iteration: int
) -> Tensors:
    """h = m h + (1 - m) g^2; u = g sqrt((k + delta) / (h + delta)); k = m k + (1 - m) u^2; W -= r u."""
    squares, updates = slots
    _decayed_squares(squares, grads, hyper.momentum)
    ratio = torch._foreach_add(updates, hyper.delta)
    torch._foreach_div_(ratio, torch._foreach_add(squares, hyper.delta))
    torch._foreach_sqrt_(ratio)
    torch._foreach_mul_(ratio, grads)
    _decayed_squares(updates, ratio, hyper.momentum)
    return _scaled(ratio, rates)


def _adam(
    grads: list[Tensor], slots: list[list[Tensor]], rates: list[Group], hyper: Hyper, iteration: int
) -> Tensors:
    """M, V: decayed means of g, g^2; W -= r sqrt(1 - b2^t) / (1 - b1^t) M / (sqrt V + delta), t = i + 1."""
    means, squares = slots
    torch._foreach_mul_(means, hyper.momentum)
    torch._foreach_add_(means, grads, alpha=1 - hyper.momentum)
    _decayed_squares(squares, grads, hyper.momentum2)
    time = iteration + 1
    correction = (1 - hyper.momentum2**time) ** 0.5 / (1 - hyper.momentum**time)
    corrected = [Group(rate * correction, members) for rate, members in rates]
    return _scaled(_over_root(means, squares, hyper.delta), corrected)


def _adamw(
    grads: list[Tensor], slots: list[list[Tensor]], rates: list[Group], hyper: Hyper, iteration: int
) -> Tensors:
    """Adam with torch's delta: W -= r / (1 - b1^t) M / (sqrt(V / (1 - b2^t)) + delta)."""
    means, squares = slots
    torch._foreach_lerp_(means, grads, 1 - hyper.momentum)
    _decayed_squares(squares, grads, hyper.momentum2)
    time = iteration + 1
    root = torch._foreach_sqrt(squares)
    torch._foreach_div_(root, (1 - hyper.momentum2**time) ** 0.5)
    torch._foreach_add_(root, hyper.delta)
    corrected = [Group(rate / (1 - hyper.momentum**time), members) for rate, members in rates]
    return _scaled(torch._foreach_div(means, root), corrected)


def _decayed_squares(squares: list[Tensor], values: Tensors, decay: float) -> None:
    torch._foreach_mul_(squares, decay)
    torch._foreach_addcmul_(squares, values, values, value=1 - decay)


def _over_root(values: list[Tensor], squares: list[Tensor], delta: float) -> Tensors:
    root = torch._foreach_sqrt(squares)
    torch._foreach_add_(root, delta)
    return torch._foreach_div(values, root)


def _scaled(values: Tensors, rates: list[Group]) -> Tensors:
    for rate, members in rates:
        torch._foreach_mul_([values[index] for index in members], rate)
    return values


RULES: dict[str, tuple[Rule, int]] = {
    "SGD": (_sgd, 1),
    "Nesterov": (_nesterov, 1),
    "AdaGrad": (_adagrad, 1),
    "RMSProp": (_rmsprop, 1),
    "AdaDelta": (_adadelta, 2),
    "Adam": (_adam, 2),
    "AdamW": (_adamw, 2),
}


def history_slots(param: SolverParameter) -> int:
    """How many values a solver keeps from update to update for each learned value.

    Raises:
        PrototxtError: the type is unknown.
    """
    return _rule(param)[1]


def _rule(param: SolverParameter) -> tuple[Rule, int]:
    if param.type not in RULES:
        raise PrototxtError(
            "unknown solver type",
            found=f"type: {param.type!r}",
            expected=", ".join(RULES),
            advice="correct type in the solver prototxt (names are case-sensitive, as in Caffe)",
        )
    return RULES[param.type]


def _hyper(param: SolverParameter, dialect: str) -> Hyper:
    unset = dialect == "rloss" and not param.HasField("rms_decay")
    hyper = Hyper(param.momentum, param.momentum2, param.delta, 0.0 if unset else param.rms_decay)
    if param.type == "AdamW":
        hyper = Hyper(*map(policies.as_written, hyper))
        if param.regularization_type != "L2":
            found = f"regularization_type: {param.regularization_type!r}"
            raise _refused("AdamW shrinks the weights themselves", found, "L2")
    if param.type in ("AdaGrad", "RMSProp") and hyper.momentum:
        raise _refused(f"momentum cannot be used with {param.type}", f"momentum: {hyper.momentum:g}", "0")
    if param.type == "RMSProp" and not 0 <= hyper.rms_decay < 1:
        raise _refused("rms_decay is out of range", f"{hyper.rms_decay:g}", "0 or more and less than 1")
    if param.regularization_type not in ("L1", "L2"):
        raise _refused("unknown regularization_type", repr(param.regularization_type), "L1 or L2")
    if param.iter_size < 1:
        raise _refused("iter_size is out of range", param.iter_size, "1 or more")
    return hyper


def _refused(message: str, found: object, expected: str) -> PrototxtError:
    return PrototxtError(message, found=found, expected=expected, advice="correct the solver prototxt")


def _grouped(values: Sequence[float]) -> list[Group]:
    groups: dict[float, list[int]] = {}
    for index, value in enumerate(values):
        groups.setdefault(value, []).append(index)
    return [Group(value, members) for value, members in groups.items()]
