"""The Potts model between neighbouring pixels, in six relaxations to probabilities (Zhang and Boykov)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlossctl.losses.labelled import error, not_below, one_of, photo, planar, planes

LOSS = "Potts loss"
REDUCTIONS = ("edges", "weights", "sum")
NEIGHBOURS = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, 0), (1, 1), (1, -1))}  # (rows, columns), each pair once
SMALLEST = 1e-6  # inside logarithms

Term = Callable[[Tensor, Tensor], Tensor]  # of probabilities p and q [N, C, h, w]: [N, 1, h, w]


class PottsLoss(torch.nn.Module):
    """`potts_loss` with its settings.

    Args:
        relaxation: one of RELAXATIONS.
        image_std: in the image's units; 0 for no contrast weight.
        neighbours: 4 or 8.
        reduction: "edges", "weights" or "sum".
    """

    def __init__(
        self,
        relaxation: str = "bilinear",
        image_std: float = 0.0,
        neighbours: int = 4,
        reduction: str = "edges",
    ) -> None:
        super().__init__()
        check(relaxation, image_std, neighbours, reduction)
        self.relaxation, self.image_std = relaxation, image_std
        self.neighbours, self.reduction = neighbours, reduction

    def forward(self, image: Tensor | None, prob: Tensor, mask: Tensor | None = None) -> Tensor:
        settings = self.relaxation, self.image_std, self.neighbours, self.reduction
        return potts_loss(image, prob, mask, *settings)

    def extra_repr(self) -> str:
        return (
            f"{self.relaxation!r}, image_std={self.image_std}, neighbours={self.neighbours}, "
            f"reduction={self.reduction!r}"
        )


def potts_loss(
    image: Tensor | None,
    prob: Tensor,
    mask: Tensor | None = None,
    relaxation: str = "bilinear",
    image_std: float = 0.0,
    neighbours: int = 4,
    reduction: str = "edges",
) -> Tensor:
    """w_ij times how much neighbours i and j disagree; w_ij = exp(-|I_i - I_j|^2 / (2 image_std^2)), or 1.

    With p and q the probabilities of two neighbours, they disagree by

    - bilinear: 1 - p.q;
    - quadratic: |p - q|^2 / 2;
    - normalized: 1 - p.q / (|p| |q|);
    - collision_cross_entropy: -ln p.q;
    - collision_divergence: -ln (p.q / (|p| |q|));
    - log_quadratic: -ln (1 - |p - q|^2 / 2).

    For one-hot p and q the first three are 0 where the classes are equal and 1 where they differ. A logarithm
    takes at least 1e-6; below, the term is constant and has no slope. bilinear and collision_cross_entropy
    also ask each pixel by itself to be sure; the others are 0 wherever p = q.

    Args:
        image: [N, colours, H, W], no gradient; None without a contrast weight.
        prob: [N, C, H, W], softmax of the scores.
        mask: [N, H, W] or [N, 1, H, W]: a pair counts the product of its pixels; no gradient. None: all
            count.
        relaxation: see above.
        image_std: in the image's units; 0 for w_ij = 1.
        neighbours: 4, or 8 with the diagonals.
        reduction: "edges": the mean over the pairs of each direction that count, added up; "weights": the
            sum divided by the sum of w_ij; "sum". Every pair is taken once.

    Returns:
        0 or more, a 0-d float32 tensor (float64 for float64 prob), also under autocast; 0 without a pair.

    Raises:
        NetError: shapes that do not fit, settings out of range.
    """
    check(relaxation, image_std, neighbours, reduction)
    prob = planar(LOSS, prob)
    counted = planes(LOSS, mask, prob)
    colours = None if image is None or not image_std else photo(LOSS, image, prob) / (image_std * 2**0.5)
    if colours is None and image_std:
        found = f"image_std {image_std:g}, no image"
        raise error(LOSS, "a contrast weight needs an image", found=found, expected="an image")
    parts = [
        directed(RELAXATIONS[relaxation], prob, colours, counted, offset) for offset in NEIGHBOURS[neighbours]
    ]
    tiny = torch.finfo(prob.dtype).tiny
    if reduction == "edges":
        return torch.stack([total / pairs.clamp(min=tiny) for total, _, pairs in parts]).sum()
    sums, weights, _ = (torch.stack(column).sum() for column in zip(*parts, strict=True))
    return sums / weights.clamp(min=tiny) if reduction == "weights" else sums


def directed(
    term: Term, prob: Tensor, colours: Tensor | None, mask: Tensor, offset: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over the pairs of pixels that lie `offset` (rows, columns) apart, as far as the mask counts them.

    Args:
        colours: the image over image_std sqrt(2), None for equal weights.

    Returns:
        The sum of weight times term, the sum of the weights, and the number of pairs.
    """
    pairs = torch.mul(*ends(mask, offset))
    weights = pairs
    if colours is not None:
        one, other = ends(colours, offset)
        weights = pairs * (-(one - other).square().sum(1, keepdim=True)).exp()
    return (weights * term(*ends(prob, offset))).sum(), weights.sum(), pairs.sum()


def ends(planes: Tensor, offset: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The first and second pixels of all pairs in [N, C, H, W]; rows is 0 or more, columns has any sign."""
    rows, columns = offset
    height, width = planes.shape[2:]
    first = planes[:, :, : max(height - rows, 0), max(-columns, 0) : max(width - max(columns, 0), 0)]
    second = planes[:, :, rows:, max(columns, 0) : max(width - max(-columns, 0), 0)]
    return first, second


def check(relaxation: str, image_std: float, neighbours: int, reduction: str) -> None:
    """Refuses settings out of range."""
    one_of(LOSS, "relaxation", relaxation, tuple(RELAXATIONS))
    one_of(LOSS, "reduction", reduction, REDUCTIONS)
    not_below(LOSS, "image_std", image_std, 0)
    if neighbours not in NEIGHBOURS:
        raise error(LOSS, "has no such neighbourhood", found=f"{neighbours} neighbours", expected="4 or 8")


def product(p: Tensor, q: Tensor) -> Tensor:
    """p.q at each pixel, [N, 1, H, W]."""
    return (p * q).sum(1, keepdim=True)


def _cosine(p: Tensor, q: Tensor) -> Tensor:
    lengths = product(p, p) * product(q, q)
    return product(p, q) * lengths.clamp(min=torch.finfo(p.dtype).tiny).rsqrt()


def _quadratic(p: Tensor, q: Tensor) -> Tensor:
    return (p - q).square().sum(1, keepdim=True) / 2


def minus_log(x: Tensor) -> Tensor:
    """-ln x, x at least SMALLEST."""
    return -x.clamp(min=SMALLEST).log()


RELAXATIONS: dict[str, Term] = {
    "bilinear": lambda p, q: 1 - product(p, q),
    "quadratic": _quadratic,
    "normalized": lambda p, q: 1 - _cosine(p, q),
    "collision_cross_entropy": lambda p, q: minus_log(product(p, q)),
    "collision_divergence": lambda p, q: minus_log(_cosine(p, q)),
    "log_quadratic": lambda p, q: minus_log(1 - _quadratic(p, q)),
}
