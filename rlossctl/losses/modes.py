"""Compares the DenseCRF loss in the filter's modes, and converts a loss weight from one to another."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlossctl.bilateral.ops import MODES
from rlossctl.losses.densecrf import densecrf_loss
from rlossctl.losses.ops import error

LATTICE = MODES[0]


@dataclass(frozen=True)
class ModeFigures:
    """One mode compared with the original's.

    Attributes:
        loss: the loss without weight.
        factor: multiply a weight for the lattice by this to keep the value of the weighted loss.
        residual: ||g - factor g_mode|| / ||g|| for the lattice's gradient g: what the factor cannot correct.
    """

    loss: float
    factor: float
    residual: float


@dataclass(frozen=True)
class Comparison:
    """All modes on the same images.

    Attributes:
        asymmetry: how far the original's gradient -(2/N) A s is from the loss's derivative
            -(1/N) (A + A^T) s, relative to the derivative; 0 in the other modes.
        modes: mode -> its figures.
    """

    asymmetry: float
    modes: dict[str, ModeFigures]


def weight_factor(
    image: torch.Tensor,
    seg: torch.Tensor,
    mask: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    old: str = "lattice",
    new: str = "exact",
) -> float:
    """The factor that converts a loss weight between modes: loss(old) / loss(new) on these images.

    All published weights are tuned for the lattice. Multiply one by this factor (about 0.6 for "exact") to
    keep the value of the weighted loss. The factor depends on the size and texture of the images, so measure
    it on your own: `rlossctl visualize modes` does.

    Args:
        image, seg, mask, sigma_xy, sigma_rgb: as for `densecrf_loss`, at the size that the loss sees; use
            ones for `seg` without scores.
        old, new: modes.

    Raises:
        NetError: as for `densecrf_loss`, or a loss is 0.
    """
    with torch.no_grad():
        before, after = (densecrf_loss(image, seg, mask, sigma_xy, sigma_rgb, m).item() for m in (old, new))
    return _ratio(before, after)


def compare_modes(
    image: torch.Tensor, seg: torch.Tensor, mask: torch.Tensor, sigma_xy: float, sigma_rgb: float
) -> Comparison:
    """Value and gradient of the loss in every mode; arguments as for `weight_factor`."""
    losses: dict[str, float] = {}
    gradients: dict[str, torch.Tensor] = {}
    for mode in MODES:
        soft = seg.detach().requires_grad_()
        loss = densecrf_loss(image, soft, mask, sigma_xy, sigma_rgb, mode)
        (gradients[mode],) = torch.autograd.grad(loss, soft)
        losses[mode] = loss.item()
    given, derivative = gradients[LATTICE], gradients["symmetric"]
    figures = {}
    for mode, value in losses.items():
        factor = _ratio(losses[LATTICE], value)
        residual = (given - factor * gradients[mode]).norm() / given.norm()
        figures[mode] = ModeFigures(value, factor, residual.item())
    return Comparison(((given - derivative).norm() / derivative.norm()).item(), figures)


def _ratio(before: float, after: float) -> float:
    if after == 0:
        raise error("the modes cannot be compared", "a loss of 0", "scores above 0 where the mask is 1")
    return before / after
