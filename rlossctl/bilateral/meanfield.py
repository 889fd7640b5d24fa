"""Mean-field inference of a fully connected CRF with Potts potentials (Kraehenbuehl and Koltun 2011)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rlossctl.bilateral.kernel import Kernel
from rlossctl.errors import NetError

LEAST_EXPONENT = -20.0  # below this, the original's exp gives 0
EPSILON = 1e-20  # added to the norms, as in the original


@torch.no_grad()
def mean_field(
    scores: torch.Tensor,
    image: torch.Tensor | None = None,
    iterations: int = 10,
    *,
    pos: Sequence[tuple[float, float]] = (),
    bi: Sequence[tuple[float, float, float]] = (),
) -> torch.Tensor:
    """Class probabilities that follow the edges of the image, as the DenseCRF layer computes them.

    Q starts as softmax(scores). Each iteration sets Q = softmax(scores + sum w K Q / K 1), where K is the
    lattice filter over position, or over position and colour (dense_crf_layer.cpp in the rloss fork). As in
    the fork, exp is 0 below -20.

    Args:
        scores: [N, K, H, W] scores before the softmax, or log probabilities.
        image: [N, C, H, W] colours in the units of the potentials (0..255), raw or mean-subtracted; not
            needed without `bi`.
        iterations: number of updates of Q, 0 for the softmax alone; the layer's default is 10.
        pos: (sigma_xy in pixels, weight) of each position potential.
        bi: (sigma_xy in pixels, sigma_rgb, weight) of each position and colour potential.

    Returns:
        Q, [N, K, H, W] float32 (float64 for float64 scores). No gradient is recorded.

    Raises:
        NetError: shapes do not fit, `bi` has no image, or as for `bilateral_filter`.
    """
    _check(scores, image, iterations, bi)
    scores = scores.to(torch.float64 if scores.dtype == torch.float64 else torch.float32)
    colours = scores.new_empty((len(scores), 0, *scores.shape[2:])) if image is None else image.to(scores)
    kernels = [(Kernel(colours[:, :0], xy, 1.0), weight) for xy, weight in pos]
    kernels += [(Kernel(colours, xy, rgb), weight) for xy, rgb, weight in bi]
    ones = torch.ones_like(scores[:, :1])
    factors = [weight / (kernel(ones) + EPSILON) for kernel, weight in kernels]
    q = cut_softmax(scores)
    for _ in range(iterations if kernels else 0):
        energy = scores
        for factor, (kernel, _) in zip(factors, kernels, strict=True):
            energy = energy + factor * kernel(q)
        q = cut_softmax(energy)
    return q


def cut_softmax(x: torch.Tensor) -> torch.Tensor:
    """Softmax over axis 1; terms more than 20 below the greatest count as 0."""
    below = x - x.amax(1, keepdim=True)
    powers = below.exp().where(below >= LEAST_EXPONENT, 0)
    return powers / powers.sum(1, keepdim=True)


def _check(scores: torch.Tensor, image: torch.Tensor | None, iterations: int, bi: Sequence[object]) -> None:
    if scores.dim() != 4 or not scores.is_floating_point():
        raise _error("the scores cannot be used", f"{scores.dtype} {tuple(scores.shape)}", "(N, K, H, W)")
    if image is None and bi:
        raise _error("colour potentials need an image", "image None", "an image (N, 3, H, W)")
    if image is not None and (
        image.dim() != 4 or len(image) != len(scores) or image.shape[2:] != scores.shape[2:]
    ):
        found = f"image {tuple(image.shape)}, scores {tuple(scores.shape)}"
        raise _error("image and scores do not fit together", found, "equal batch, height and width")
    if iterations < 0:
        raise _error("the number of iterations is negative", iterations, "0 or more")


def _error(message: str, found: object, expected: str) -> NetError:
    advice = "see the documentation of rlossctl.bilateral.mean_field"
    return NetError(message, where="mean-field inference", found=found, expected=expected, advice=advice)
