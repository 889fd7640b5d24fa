"""The Gated CRF loss ("Gated CRF Loss for Weakly Supervised Semantic Image Segmentation", Obukhov 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from rlossctl.losses.gated_ops import LOSS, crf_op, filter_op
from rlossctl.losses.inputs import InputCheck
from rlossctl.losses.labelled import error, not_below, planar

MOST_STDS = 200.0  # that an image may span: a normalised photo has about 50 deviations of 0.1
UNITS = "image_std is 0.1 for a normalised image, 15 for one of 0..255"

Matrix = Tensor | Sequence[Sequence[float]]


@dataclass(frozen=True)
class GatedKernel:
    """weight * exp(-|x_i - x_j|^2 / (2 xy_std^2) - |I_i - I_j|^2 / (2 image_std^2)).

    Attributes:
        weight: 0 or more.
        xy_std: standard deviation in pixels of the loss's grid; 0 leaves the distance out.
        image_std: standard deviation in the image's units, of all its channels or one for each; 0 leaves the
            image, or that channel, out.
    """

    weight: float = 1.0
    xy_std: float = 6.0
    image_std: float | tuple[float, ...] = 0.1

    @property
    def image_stds(self) -> tuple[float, ...]:
        """One for all channels, or one for each."""
        return self.image_std if isinstance(self.image_std, tuple) else (self.image_std,)


DEFAULT = (GatedKernel(),)


class GatedCRFLoss(torch.nn.Module):
    """`gated_crf_loss` with its settings.

    Inputs that are probably a mistake (an image whose units do not fit image_std, scores without a softmax,
    an empty mask) give a LossInputWarning, each kind once.

    Args:
        kernels: k is their sum.
        radius: how many pixels the window reaches in each direction, 1 or more.
        compatibility: [C, C], 0 or more, zeros on the diagonal; None for Potts.
        resolution: the longer side of the loss's grid; None for the size of the probabilities.
        name: whose inputs the warnings speak of.
    """

    compatibility: Tensor | None

    def __init__(
        self,
        kernels: Sequence[GatedKernel] = DEFAULT,
        radius: int = 5,
        compatibility: Matrix | None = None,
        resolution: int | None = None,
        name: str = "GatedCRFLoss",
    ) -> None:
        super().__init__()
        check(kernels, radius, resolution)
        self.kernels, self.radius, self.resolution = tuple(kernels), radius, resolution
        matrix = None if compatibility is None else scaled_rows(compatibility)
        self.register_buffer("compatibility", matrix, persistent=False)
        widest = max(std for kernel in kernels for std in kernel.image_stds)
        self._inputs = InputCheck(name, widest, "image_std", MOST_STDS, UNITS)

    def forward(
        self,
        image: Tensor | None,
        prob: Tensor,
        source: Tensor | None = None,
        destination: Tensor | None = None,
    ) -> Tensor:
        grid = Grid.of(image, prob, source, destination, self.resolution)
        if grid.image is not None:
            self._inputs.look(grid.image, grid.prob, grid.source)
        return _loss(grid, self.kernels, self.radius, self.compatibility)

    def extra_repr(self) -> str:
        matrix = "" if self.compatibility is None else ", with a compatibility matrix"
        return f"{self.kernels}, radius={self.radius}, resolution={self.resolution}{matrix}"


def gated_crf_loss(
    image: Tensor | None,
    prob: Tensor,
    source: Tensor | None = None,
    destination: Tensor | None = None,
    kernels: Sequence[GatedKernel] = DEFAULT,
    radius: int = 5,
    compatibility: Matrix | None = None,
    resolution: int | None = None,
) -> Tensor:
    """(1 / Z) sum over i and j of s_j t_i k_ij (1 - <P_i, P_j>), j in the window around i and not i itself.

    k is the sum of the kernels. s and t, the gates, are the masks: a pixel of the grid sends (s) or receives
    (t) if its mask is 1 all over it. Z is the number of pixels that receive if there is a destination mask,
    else of those that send, at least 1. With a compatibility matrix M, <P_i, M' P_j> takes the place of
    1 - <P_i, P_j>; M' is M with rows that add up to C - 1. Pixels outside the image are in none of the pairs.
    One pass over the pairs gives loss and gradient; what is kept for the backward pass is as large as `prob`.

    Args:
        image: [N, channels, H, W], no gradient; None if no kernel looks at it. Area-averaged to the grid, and
            so are the masks.
        prob: [N, C, h, w], softmax of the scores.
        source, destination: [N, H, W] or [N, 1, H, W], 1 where pixels count; NaN counts as 0. None: all
            count.
        kernels, radius, compatibility: as for `GatedCRFLoss`.
        resolution: the longer side of the grid to which prob is area-averaged; None for prob's own size.

    Returns:
        0 or more, a 0-d float32 tensor (float64 for float64 prob), also under autocast; 0 for empty masks.

    Raises:
        NetError: shapes that do not fit, settings out of range, a value is NaN (CPU).
    """
    check(kernels, radius, resolution)
    grid = Grid.of(image, prob, source, destination, resolution)
    return _loss(grid, kernels, radius, None if compatibility is None else scaled_rows(compatibility))


@dataclass(frozen=True)
class Grid:
    """Everything at the loss's own resolution and in its float type.

    Attributes:
        image: [N, channels, h, w] or None.
        prob: [N, C, h, w].
        source, destination: the gates, [N, 1, h, w].
        count: Z.
    """

    image: Tensor | None
    prob: Tensor
    source: Tensor
    destination: Tensor
    count: Tensor | float

    @classmethod
    def of(
        cls,
        image: Tensor | None,
        prob: Tensor,
        source: Tensor | None,
        destination: Tensor | None,
        resolution: int | None,
    ) -> Grid:
        """Averages everything to the grid."""
        prob = planar(LOSS, prob)
        if resolution is not None:
            prob = adaptive_avg_pool2d(prob, grid_size(prob, resolution))
        gates = [_gate(name, mask, prob) for name, mask in (("source", source), ("destination", destination))]
        counted = next((gate for gate in reversed(gates) if gate is not None), None)
        count = prob[:, 0].numel() if counted is None else counted.sum().clamp(min=1)
        ones = prob.new_ones((len(prob), 1, *prob.shape[2:]))
        source, destination = (ones if gate is None else gate for gate in gates)
        image = None if image is None else _averaged("image", image, prob)
        return cls(image, prob, source, destination, count)


def grid_size(prob: Tensor, resolution: int) -> tuple[int, int]:
    """Height and width of the grid whose longer side is `resolution`.

    Raises:
        NetError: it is larger than the probabilities.
    """
    height, width = prob.shape[2:]
    longer = max(height, width)
    if resolution > longer:
        found = f"resolution {resolution}, probabilities {tuple(prob.shape)}"
        raise error(LOSS, "the grid is larger than the probabilities", found=found, expected=f"1 to {longer}")
    return max(1, round(height * resolution / longer)), max(1, round(width * resolution / longer))


def scaled_rows(compatibility: Matrix) -> Tensor:
    """M': the matrix [C, C] with rows that add up to C - 1, in float64; a row of zeros stays.

    Raises:
        NetError: not square, an entry below 0 or not finite, a diagonal that is not 0.
    """
    matrix = torch.as_tensor(compatibility).double()
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
        found = f"shape {tuple(matrix.shape)}"
        raise error(LOSS, "the compatibility matrix is not square", found=found, expected="(C, C)")
    if not torch.compiler.is_compiling() and (
        not ((matrix >= 0) & matrix.isfinite()).all() or matrix.diagonal().any()
    ):
        raise error(
            LOSS,
            "the compatibility matrix is not one of penalties",
            found=matrix.tolist(),
            expected="finite numbers from 0, and zeros on the diagonal",
        )
    sums = matrix.sum(1, keepdim=True)
    return matrix * (len(matrix) - 1) / sums.where(sums > 0, 1)


def check(kernels: Sequence[GatedKernel], radius: int, resolution: int | None) -> None:
    """Refuses settings out of range."""
    if not kernels:
        raise error(LOSS, "needs a kernel", found="none", expected="one GatedKernel or more")
    for kernel in kernels:
        not_below(LOSS, "a kernel's weight", kernel.weight, 0)
        not_below(LOSS, "xy_std", kernel.xy_std, 0)
        for std in kernel.image_stds:
            not_below(LOSS, "image_std", std, 0)
    not_below(LOSS, "radius", radius, 1)
    if resolution is not None:
        not_below(LOSS, "resolution", resolution, 1)


def _loss(grid: Grid, kernels: Sequence[GatedKernel], radius: int, matrix: Tensor | None) -> Tensor:
    prob = grid.prob
    pairs = *_kernels(grid, kernels, radius), grid.source, grid.destination / grid.count
    if matrix is None:
        loss: Tensor = crf_op(prob, *pairs)[0]
        return loss
    if len(matrix) != prob.shape[1]:
        found = f"matrix {tuple(matrix.shape)}, probabilities {tuple(prob.shape)}"
        raise error(LOSS, "needs one row per class", found=found, expected=f"{prob.shape[1]} rows")
    filtered = filter_op(prob, *pairs).double()  # which autocast leaves alone
    penalties = torch.einsum("cd,ndhw->nchw", matrix.to(prob.device), filtered)
    return (prob * penalties).sum().to(prob.dtype)


def _kernels(grid: Grid, kernels: Sequence[GatedKernel], radius: int) -> tuple[Tensor, Tensor]:
    """Features and table of `rlossctl.bilateral.gated`: kernels that see the image alike are one group."""
    scales = dict.fromkeys(scale for kernel in kernels if any(scale := kernel.image_stds))
    height, width = grid.prob.shape[2:]
    window = min(radius, height - 1), min(radius, width - 1)
    lines = [
        _sum_over_window([kernel for kernel in kernels if _sees(kernel) == scale], window, grid.prob)
        for scale in (None, *scales)
    ]
    features = [_scaled(grid.image, scale) for scale in scales]
    empty = grid.prob.new_empty((0, len(grid.prob), 0, height, width))
    return torch.stack(features) if features else empty, torch.stack(lines)


def _sees(kernel: GatedKernel) -> tuple[float, ...] | None:
    return kernel.image_stds if any(kernel.image_stds) else None


def _sum_over_window(kernels: Sequence[GatedKernel], window: tuple[int, int], like: Tensor) -> Tensor:
    """What the kernels' weights and distances come to at each offset, [2 r + 1, 2 s + 1], 0 in the centre."""
    rows, columns = (torch.arange(-r, r + 1, dtype=like.dtype, device=like.device) for r in window)
    squared = rows.square()[:, None] + columns.square()
    table = torch.zeros_like(squared)
    for kernel in kernels:
        falloff = -0.5 / kernel.xy_std**2 if kernel.xy_std else 0.0
        table = table + kernel.weight * (falloff * squared).exp()
    return table * (squared > 0)


def _scaled(image: Tensor | None, stds: tuple[float, ...]) -> Tensor:
    """The image in units of the deviations, and without the channels whose deviation is 0."""
    if image is None:
        found = f"image_std {', '.join(f'{std:g}' for std in stds)}, no image"
        raise error(LOSS, "a kernel needs the image", found=found, expected="an image")
    each = stds * image.shape[1] if len(stds) == 1 else stds
    if len(each) != image.shape[1]:
        found = f"{len(each)} deviations, image {tuple(image.shape)}"
        raise error(LOSS, "needs an image_std per channel", found=found, expected="one, or one per channel")
    return torch.stack(
        [plane / std if std else plane * 0 for plane, std in zip(image.unbind(1), each, strict=True)], 1
    )


def _gate(name: str, mask: Tensor | None, prob: Tensor) -> Tensor | None:
    """1 for the grid's pixels that a mask covers wholly, 0 for others: [N, 1, h, w]."""
    if mask is None:
        return None
    plane = mask.unsqueeze(1) if mask.dim() == 3 else mask
    if plane.dim() != 4 or plane.shape[1] != 1:
        found = f"shape {tuple(mask.shape)}"
        raise error(
            LOSS, f"the {name} mask has no such form", found=found, expected="(N, H, W) or (N, 1, H, W)"
        )
    return (_averaged(f"{name} mask", plane, prob).nan_to_num(0) >= 1).to(prob.dtype)


def _averaged(name: str, blob: Tensor, prob: Tensor) -> Tensor:
    """[N, channels, H, W] area-averaged to the grid, in prob's type, without gradient."""
    height, width = prob.shape[2:]
    if blob.dim() != 4 or len(blob) != len(prob) or blob.shape[2] < height or blob.shape[3] < width:
        raise error(
            LOSS,
            f"the {name} does not fit the probabilities",
            found=f"{name} {tuple(blob.shape)}, probabilities {tuple(prob.shape)}",
            expected=f"({len(prob)}, channels, H, W) with H from {height} and W from {width}",
            advice="shrink the probabilities (Interp, resolution), or enlarge the other",
        )
    blob = blob.detach().to(prob)
    return blob if blob.shape[2:] == (height, width) else adaptive_avg_pool2d(blob, (height, width))
