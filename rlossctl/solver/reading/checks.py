"""What a solver says that cannot be meant: refused where no training comes of it, else told as a warning."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rlossctl.errors import PrototxtError
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.prototxt.text import field_lines, read_text
from rlossctl.solver.reading.files import SolverFile
from rlossctl.solver.updating import policies

# The fields that each rule reads, and those that must lie in [0, 1) for its formula to give numbers.
_ADAM = ("momentum", "momentum2")
_ADAMS = ("Adam", "AdamW", "Adamax", "RAdam")
_FRACTIONS = {**dict.fromkeys(_ADAMS, _ADAM), "AdaDelta": ("momentum",), "RMSProp": ("rms_decay",)}
_WITH_DELTA = (*_ADAMS, "AdaDelta", "AdaGrad", "RMSProp")
_WITH_CYCLED_MOMENTUM = ("SGD", "Nesterov", *_ADAMS)


def check_solver(file: SolverFile) -> None:
    """Refuses values that give no numbers, or that end Caffe.

    Raises:
        PrototxtError: with the line of the field.
    """
    param = file.param
    for field, value in _floats(param):
        if not math.isfinite(value):
            raise refused(file, field, "is not a finite number", value, "a number")
    for field in _FRACTIONS.get(param.type, ()):
        value = getattr(param, field)
        if not 0 <= value < 1:
            message = f"is out of range for type {param.type}"
            raise refused(file, field, message, value, "0 or more and less than 1")
    if param.type in _WITH_DELTA and param.delta < 0:
        raise refused(file, "delta", "is out of range", param.delta, "0 or more, such as 1e-8")
    if param.average_loss < 1:
        raise refused(file, "average_loss", "is out of range", param.average_loss, "1 or more")
    for field in ("snapshot", "display"):
        if getattr(param, field) < 0:
            raise refused(file, field, "is out of range", getattr(param, field), "0 or more iterations")
    _check_own(file)
    if param.lr_policy == "onecycle":
        _check_one_cycle(file)


def _check_own(file: SolverFile) -> None:
    """The fields that Caffe does not have."""
    param = file.param
    for field in ("warmup_iter", "lr_ahead"):
        if getattr(param, field) < 0:
            raise refused(file, field, "is out of range", getattr(param, field), "0 or more iterations")
    if not 0 <= param.warmup_ratio <= 1:
        raise refused(file, "warmup_ratio", "is out of range", param.warmup_ratio, "0 to 1 times base_lr")
    if param.HasField("ema_decay") and not 0 <= param.ema_decay < 1:
        raise refused(
            file, "ema_decay", "is out of range", param.ema_decay, "0 or more and less than 1, such as 0.999"
        )


def _check_one_cycle(file: SolverFile) -> None:
    param, cycle = file.param, file.param.onecycle
    if param.type not in _WITH_CYCLED_MOMENTUM:
        raise PrototxtError(
            f"lr_policy onecycle changes the momentum, which type {param.type} does not have",
            where=_at(file, "lr_policy"),
            found=f"type: {param.type!r}",
            expected=", ".join(_WITH_CYCLED_MOMENTUM),
            advice="choose one of these types, or lr_policy: 'cosine' with warmup_iter",
        )
    if param.warmup_iter:
        raise refused(
            file,
            "warmup_iter",
            "does not go with lr_policy onecycle, which itself rises",
            param.warmup_iter,
            "0",
        )
    limits = {
        "rise": (0 < cycle.rise < 1, "more than 0 and less than 1"),
        "divide": (1 <= cycle.divide < math.inf, "1 or more, such as 25"),
        "final_divide": (1 <= cycle.final_divide < math.inf, "1 or more, such as 25e4"),
        "momentum_low": (0 <= cycle.momentum_low < 1, "0 or more and less than 1"),
        "momentum_high": (0 <= cycle.momentum_high < 1, "0 or more and less than 1"),
    }
    for field, (fits, expected) in limits.items():
        if not fits:
            raise PrototxtError(
                f"{field} of onecycle is out of range",
                where=_at(file, "onecycle"),
                found=f"{field}: {getattr(cycle, field):g}",
                expected=expected,
                advice="correct onecycle in the solver prototxt",
            )


def doubts(file: SolverFile) -> Iterator[str]:
    """What Caffe takes without a word, although it is hardly meant; one sentence each."""
    param = file.param
    for name in policies.unset_fields(param):
        effect = ", so nothing is learned" if name == "base_lr" else ""
        yield f"{name} is not set in {file.path} and counts as 0, as in Caffe{effect}"
    if param.base_lr < 0:
        yield f"{_at(file, 'base_lr')}: base_lr {param.base_lr:g} climbs the loss instead of descending"
    if param.type not in _FRACTIONS and not 0 <= param.momentum < 1:
        yield f"{_at(file, 'momentum')}: momentum {param.momentum:g} is not in [0, 1), so training diverges"
    if param.weight_decay < 0:
        yield f"{_at(file, 'weight_decay')}: weight_decay {param.weight_decay:g} makes the weights grow"
    if param.type in _WITH_DELTA and param.delta == 0:
        yield f"{_at(file, 'delta')}: delta 0 gives 0 / 0 where a gradient is 0"
    yield from _schedule(file)
    yield from _without_effect(file)


def nothing_tested(file: SolverFile) -> str:
    """The warning about a test_interval without a test net."""
    return f"{_at(file, 'test_interval')}: test_interval without test_iter: nothing is tested"


def _schedule(file: SolverFile) -> Iterator[str]:
    values = list(file.param.stepvalue)
    if file.param.lr_policy == "multistep" and not values:
        yield f"{file.path}: lr_policy multistep without stepvalue: the rate stays base_lr"
    elif file.param.lr_policy != "multistep" and values:
        yield f"{_at(file, 'stepvalue')}: stepvalue counts with lr_policy multistep only"
    elif values != sorted(values):
        yield (
            f"{_at(file, 'stepvalue')}: the stepvalues are not in order ({', '.join(map(str, values))}): "
            "one that is smaller than that before it takes effect right after it, as in Caffe"
        )


def _without_effect(file: SolverFile) -> Iterator[str]:
    """Our own fields that do not count, and those that rules of torch.optim take as 0."""
    param = file.param
    if param.HasField("onecycle") and param.lr_policy != "onecycle":
        yield f"{_at(file, 'onecycle')}: onecycle counts with lr_policy onecycle only"
    if param.lr_policy == "onecycle" and param.HasField("momentum"):
        yield (
            f"{_at(file, 'momentum')}: momentum does not count with lr_policy onecycle, which goes between "
            "momentum_low and momentum_high"
        )
    if param.warmup_ratio and not param.warmup_iter:
        yield f"{_at(file, 'warmup_ratio')}: warmup_ratio counts with warmup_iter only"
    torchs = param.type in ("AdamW", "Adamax", "RAdam")
    if torchs and param.lr_policy != "onecycle" and not param.HasField("momentum"):
        yield f"momentum is not set in {file.path} and counts as 0; {param.type} is mostly used with 0.9"


def refused(file: SolverFile, field: str, message: str, found: float, expected: str) -> PrototxtError:
    """The error about a field of the solver."""
    return PrototxtError(
        f"{field} {message}",
        where=_at(file, field),
        found=f"{field}: {found:g}",
        expected=expected,
        advice=f"correct {field} in the solver prototxt",
    )


def _at(file: SolverFile, field: str) -> str:
    """`file:line` of a field; the file where the line is not known."""
    try:
        line = field_lines(read_text(file.path)).get(field)
    except PrototxtError:
        line = None
    return f"{file.path}:{line}" if line else str(file.path)


def _floats(param: SolverParameter) -> Iterator[tuple[str, float]]:
    for descriptor, value in param.ListFields():
        if isinstance(value, float):
            yield descriptor.name, value
