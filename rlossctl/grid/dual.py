"""Dual decomposition of a grid CRF ("End-to-end Training of CNN-CRF via Differentiable Dual-Decomposition",
Wang et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rlossctl.bilateral.ops import working_type
from rlossctl.errors import NetError
from rlossctl.grid.chains import chain_marginals, smooth_maximum
from rlossctl.grid.kernel import native

WHERE = "dual decomposition"


@dataclass(frozen=True)
class Grid:
    """The pairwise scores of pixels that lie `stride` apart in a row or a column.

    Attributes:
        stride: 1 or more.
        rows: [N, C, C, h, w - stride], the score of (label of the left pixel, label of the right one).
        columns: [N, C, C, h - stride, w], of (upper, lower). Both are empty where the map is too small.
    """

    stride: int
    rows: Tensor
    columns: Tensor

    def check(self, unary: Tensor) -> None:
        """Refuses scores that do not fit unary [N, C, h, w]."""
        images, classes, height, width = unary.shape
        expected = (
            (images, classes, classes, height, max(width - self.stride, 0)),
            (images, classes, classes, max(height - self.stride, 0), width),
        )
        if self.stride < 1 or (self.rows.shape, self.columns.shape) != expected:
            found = f"{tuple(self.rows.shape)} and {tuple(self.columns.shape)} with stride {self.stride}"
            raise error("unary and pairwise scores do not fit", found, f"{expected[0]} and {expected[1]}")


@dataclass(frozen=True)
class DualDecomposition:
    """What the last iteration leaves.

    Attributes:
        rows, columns: [N, C, h, w], the max-marginals of a pixel's chains, summed.
        dual: [N, iterations], the dual value in each iteration: an upper bound of the best labelling's score
            (smoothed, of all labellings). An image that has stopped keeps its value.
    """

    rows: Tensor
    columns: Tensor
    dual: Tensor

    @property
    def scores(self) -> Tensor:
        """[N, C, h, w], whose best class is the labelling."""
        return self.rows + self.columns

    @property
    def disagreement(self) -> Tensor:
        """[N, h, w], where rows and columns choose different classes."""
        return self.rows.argmax(1) != self.columns.argmax(1)


@dataclass(frozen=True)
class _Family:
    """All chains of one stride and direction, in the form that `chain_marginals` takes."""

    stride: int
    down: bool
    pairwise: Tensor

    def marginals(self, share: Tensor, temperature: Tensor | None) -> tuple[Tensor, Tensor]:
        """Max-marginals of unary scores, both [N, C, h, w], and the sum of smax over the chains [N]."""
        order = (0, 2, 1, 3) if self.down else (0, 3, 1, 2)  # and back
        found = chain_marginals(share.permute(order), self.pairwise, temperature, self.stride)
        first = found[:, : self.stride]  # the first pixel of every chain
        dual = smooth_maximum(first, temperature, 2).sum((1, 2))
        return found.permute((0, 2, 1, 3) if self.down else (0, 2, 3, 1)), dual


def dual_decomposition(
    unary: Tensor,
    grids: Sequence[Grid],
    iterations: int = 5,
    temperature: float | Tensor = 2.0,
    step: float = 0.0,
    tolerance: float | None = None,
) -> DualDecomposition:
    """Splits the CRF into its rows and columns and makes them agree, in a fixed number of iterations.

    The CRF's score is the sum of unary scores and of pairwise scores between neighbours in rows and columns,
    at every stride. Each pixel is in 2 T chains (T strides), which start with a share of 1 / (2 T) of its
    unary scores. An iteration computes the max-marginals m of every chain, smoothed by the temperature, and
    moves each share by -step (m - mean of m over the pixel's chains). The shares always add up to the unary
    scores, and the dual value, the sum of the chains' best scores, bounds the best labelling's from above.

    Memory for the gradient: a few maps of the size of `unary` for each chain and iteration. Plain torch
    operations (float64, other devices) compute each iteration again for that.

    Args:
        unary: [N, C, h, w].
        grids: the pairwise scores, one entry for each stride.
        iterations: 1 or more.
        temperature: 0 or more; 0 takes the maximum. A 0-d tensor gets its gradient.
        step: 0 for 1 / max(h, w).
        tolerance: an image whose dual value rises by this much or more keeps what it had before. None: never.

    Returns:
        float32 tensors (float64 for float64 unary), also under autocast.

    Raises:
        NetError: shapes that do not fit, numbers out of range.
    """
    _check(unary, grids, iterations, temperature, step)
    unary = unary.to(working_type(unary))
    families = [family for grid in grids for family in _families(grid, unary)]
    warmth = None if _is_zero(temperature) else torch.as_tensor(temperature, dtype=unary.dtype)
    shares = (unary / len(families)).unsqueeze(0).expand(len(families), *unary.shape)
    move = step or 1 / max(unary.shape[2:])
    shares, *last = _iteration(families, shares, warmth, move)
    values, stopped = [last[2]], torch.zeros_like(last[2], dtype=torch.bool)
    for _ in range(iterations - 1):
        shares, *now = _iteration(families, shares, warmth, move)
        if tolerance is not None:
            stopped = stopped | (now[2] >= last[2] + tolerance)
            now = [_where(stopped, before, after) for before, after in zip(last, now, strict=True)]
        last = now
        values.append(last[2])
    return DualDecomposition(last[0], last[1], torch.stack(values, 1))


def linear_grids(features: Tensor, weight: Tensor, bias: Tensor, strides: Sequence[int]) -> list[Grid]:
    """Pairwise scores that are linear in the features of both pixels, for every stride and direction alike.

    The score of (label a of the left or upper pixel, label b of the other) is row C a + b of
    weight [f(left) ; f(right)] + bias. Each half of the weight is applied to the map once.

    Args:
        features: [N, F, h, w].
        weight: [C^2, 2 F, 1, 1].
        bias: [C^2].
    """
    classes = round(len(bias) ** 0.5)
    halves = weight.split(features.shape[1], 1)
    first, second = (
        functional.conv2d(features, half, offset).unflatten(1, (classes, classes))
        for half, offset in zip(halves, (bias, None), strict=True)
    )
    return [
        Grid(stride, _pairs(first, second, stride, 4), _pairs(first, second, stride, 3)) for stride in strides
    ]


def hidden_grids(
    features: Tensor,
    hidden: Tensor,
    norm: Callable[[Tensor], Tensor],
    weight: Tensor,
    bias: Tensor,
    strides: Sequence[int],
) -> list[Grid]:
    """As `linear_grids`, with a normalised and rectified layer between features and scores.

    Pixels `stride` apart form stride^2 grids, each with its own rows and columns. `norm` gets the pairs of
    one of these at a time, as in the original, so that a batch's statistics are those of one such call.

    Args:
        hidden: [H, 2 F, 1, 1].
        norm: maps [N, H, y, x] to the same shape.
        weight: [C^2, H, 1, 1].
    """
    classes = round(len(bias) ** 0.5)
    first, second = (functional.conv2d(features, half) for half in hidden.split(features.shape[1], 1))
    grids = []
    for stride in strides:
        pairs = [_pairs(first, second, stride, axis) for axis in (3, 2)]
        scores = (functional.conv2d(x.relu(), weight, bias) for x in _normed(pairs, norm, stride))
        grids.append(Grid(stride, *(x.unflatten(1, (classes, classes)) for x in scores)))
    return grids


def _normed(pairs: Sequence[Tensor], norm: Callable[[Tensor], Tensor], stride: int) -> list[Tensor]:
    """The maps after `norm`, called for every `stride`-th pixel of each in turn."""
    if stride == 1:
        return [norm(x) if x.numel() else x for x in pairs]
    out = [torch.empty_like(x) for x in pairs]
    for y, x in product(range(stride), repeat=2):
        for source, target in zip(pairs, out, strict=True):
            part = source[:, :, y::stride, x::stride]
            if part.numel():
                target[:, :, y::stride, x::stride] = norm(part)
    return out


def _pairs(first: Tensor, second: Tensor, stride: int, axis: int) -> Tensor:
    """first + second `stride` further along the axis, of all pixels that have such a neighbour."""
    size = max(first.shape[axis] - stride, 0)
    return first.narrow(axis, 0, size) + second.narrow(axis, first.shape[axis] - size, size)


def _where(stopped: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """`before` for images that have stopped [N], `after` for the others."""
    return before.where(stopped.reshape(-1, *[1] * (before.dim() - 1)), after)


def _families(grid: Grid, unary: Tensor) -> tuple[_Family, _Family]:
    rows, columns = grid.rows.to(unary.dtype), grid.columns.to(unary.dtype)
    return (
        _Family(grid.stride, False, rows.permute(0, 4, 1, 2, 3).contiguous()),
        _Family(grid.stride, True, columns.permute(0, 3, 1, 2, 4).contiguous()),
    )


def _iteration(
    families: Sequence[_Family], shares: Tensor, temperature: Tensor | None, move: float
) -> tuple[Tensor, ...]:
    """New shares [families, N, C, h, w]; sums of rows and of columns [N, C, h, w]; dual values [N]."""

    def compute(shares: Tensor, temperature: Tensor | None, *pairwise: Tensor) -> tuple[Tensor, ...]:
        chains = [_Family(one.stride, one.down, pairs) for one, pairs in zip(families, pairwise, strict=True)]
        found = [one.marginals(share, temperature) for one, share in zip(chains, shares, strict=True)]
        marginals = torch.stack([one for one, _ in found])
        dual = torch.stack([one for _, one in found]).sum(0)
        rows, columns = marginals[0::2].sum(0), marginals[1::2].sum(0)  # the families alternate
        return shares - move * (marginals - marginals.mean(0)), rows, columns, dual

    pairwise = [family.pairwise for family in families]
    if native(shares) or not torch.is_grad_enabled():
        return compute(shares, temperature, *pairwise)
    result: tuple[Tensor, ...] = checkpoint(compute, shares, temperature, *pairwise, use_reentrant=False)
    return result


def _is_zero(temperature: float | Tensor) -> bool:
    return not isinstance(temperature, Tensor) and temperature == 0


def _check(
    unary: Tensor, grids: Sequence[Grid], iterations: int, temperature: float | Tensor, step: float
) -> None:
    if unary.dim() != 4 or not unary.is_floating_point() or not unary.shape[1:].numel():
        found = f"{tuple(unary.shape)} of {unary.dtype}"
        raise error("needs floating-point unary scores of images", found, "(N, C, h, w), none of them 0")
    if not grids:
        raise error("needs pairwise scores", "no grids", "one entry for each stride")
    for grid in grids:
        grid.check(unary)
    if iterations < 1:
        raise error("iterations is out of range", iterations, "1 or more")
    if not isinstance(temperature, Tensor) and not 0 <= temperature < float("inf"):
        raise error("temperature is out of range", temperature, "a number from 0; 0 takes the maximum")
    if not 0 <= step < float("inf"):
        raise error("step is out of range", step, "a number from 0; 0 stands for 1 / max(h, w)")


def error(message: str, found: object, expected: object) -> NetError:
    """What is wrong with the arguments."""
    advice = "docs/losses.md shows what it takes"
    return NetError(message, where=WHERE, found=found, expected=expected, advice=advice)
