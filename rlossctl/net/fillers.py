"""Caffe's weight fillers (include/caffe/filler.hpp). Random numbers come from torch's generator, so the
distributions are Caffe's but the numbers are not (Caffe draws from boost's mt19937)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from rlossctl.errors import NetError
from rlossctl.net.outline import Filler
from rlossctl.prototxt.messages import FillerParameter

_LARGEST = torch.finfo(torch.float32).max


@torch.no_grad()
def fill(blob: Tensor, filler: Filler, where: str, dialect: str = "bvlc") -> None:
    """Fills `blob` in place as the FillerParameter `filler` says; None fills zeros, a function is called.

    The rloss fork centres bilinear kernels of unusual sizes differently from BVLC.

    Raises:
        NetError: unknown type, or a blob that the filler cannot fill; `where` names the layer.
    """
    if filler is None:
        blob.zero_()
        return
    if callable(filler):
        filler(blob)
        return
    rules = _RLOSS_RULES if dialect == "rloss" else _RULES
    try:
        rule = rules[filler.type]
    except KeyError:
        raise NetError(
            "unknown filler type", where=where, found=filler.type, expected=", ".join(sorted(_RULES))
        ) from None
    if blob.numel():
        rule(blob, filler, where)


def fan(blob: Tensor, filler: FillerParameter) -> float:
    """The n of xavier and msra: fan_in = count / dim 0, fan_out = count / dim 1, or their mean."""
    fan_in = blob.numel() / _num(blob)
    fan_out = blob.numel() / (blob.shape[1] if blob.dim() > 1 else 1)
    if filler.variance_norm == FillerParameter.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_in if filler.variance_norm == FillerParameter.FAN_IN else fan_out


def _num(blob: Tensor) -> int:
    """Caffe's num(): the first size, 1 for a blob without axes."""
    return blob.shape[0] if blob.dim() else 1


def _refused(filler: FillerParameter, where: str, message: str, *names: str) -> NetError:
    return NetError(
        f"the {filler.type} filler {message}",
        where=where,
        found=", ".join(f"{name}: {getattr(filler, name):g}" for name in names),
        advice="correct the filler",
    )


def _constant(blob: Tensor, filler: FillerParameter, where: str) -> None:
    blob.fill_(filler.value)


def _uniform(blob: Tensor, filler: FillerParameter, where: str) -> None:
    if not 0 <= filler.max - filler.min <= _LARGEST:
        raise _refused(filler, where, "needs min <= max, both finite", "min", "max")
    blob.uniform_(filler.min, filler.max)


def _gaussian(blob: Tensor, filler: FillerParameter, where: str) -> None:
    if not 0 <= filler.std <= _LARGEST:
        raise _refused(filler, where, "needs a std >= 0, and finite", "std")
    blob.normal_(filler.mean, filler.std)
    if filler.sparse >= 0:  # about `sparse` non-zero inputs per output
        keep = torch.rand_like(blob) < filler.sparse / _num(blob)
        blob.mul_(keep)


def _positive_unitball(blob: Tensor, filler: FillerParameter, where: str) -> None:
    blob.uniform_(0, 1)
    rows = blob.view(_num(blob), -1)
    rows.div_(rows.sum(1, keepdim=True))


def _xavier(blob: Tensor, filler: FillerParameter, where: str) -> None:
    bound = math.sqrt(3.0 / fan(blob, filler))
    blob.uniform_(-bound, bound)


def _msra(blob: Tensor, filler: FillerParameter, where: str) -> None:
    blob.normal_(0.0, math.sqrt(2.0 / fan(blob, filler)))


def _bilinear(blob: Tensor, filler: FillerParameter, where: str, *, rloss: bool = False) -> None:
    if blob.dim() != 4 or blob.shape[2] != blob.shape[3]:
        raise NetError(
            "the bilinear filler needs a square 4-D blob", where=where, found=f"shape {tuple(blob.shape)}"
        )
    size = blob.shape[3]
    half = math.ceil(size / 2)
    # Both are equal for kernels that suit a factor s: size = 2 s - s % 2.
    centre = (2 * half - 1 - half % 2 if rloss else size - 1) / (2.0 * half)
    line = 1 - (torch.arange(size, dtype=torch.float64) / half - centre).abs()
    blob.copy_((line[:, None] * line[None, :]).to(blob.dtype))


_Rule = Callable[[Tensor, FillerParameter, str], object]
_RULES: dict[str, _Rule] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
_RLOSS_RULES: dict[str, _Rule] = {**_RULES, "bilinear": functools.partial(_bilinear, rloss=True)}
