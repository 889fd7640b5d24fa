"""The Gaussian sum that the lattice approximates, in plain torch operations, for every device and float type.

At 321x321, there are 10^10 pairs of pixels, most of them far apart in colour. So pixels are grouped into
tiles of 16x16. A pair of tiles is left out if even their closest features, bounded by the tiles' boxes, weigh
less than `dropped / pixels`. The omitted terms then add up to less than `dropped` times the largest magnitude
of the channel. Shapes: P pixels of an image, M tiles, T = 256 pixels of a tile, d features, K channels.
"""

from __future__ import annotations

import math

import torch

from rlossctl.bilateral.twin import features

TILE = 16
DROPPED = {torch.float32: 1e-6, torch.float64: 1e-12}
_AT_ONCE = 64  # tiles per product with one tile: 2^22 weights


def cutoff(values: torch.Tensor) -> float:
    """The weight below which a pair of tiles is left out, for values [N, K, H, W]."""
    return DROPPED[values.dtype] / values[0, 0].numel()


def exact_filter(
    values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, cutoff: float
) -> torch.Tensor:
    """The sum over j of exp(-|f_i - f_j|^2 / 2) values_j for every pixel i, including j = i.

    Args:
        values: [N, K, H, W].
        image: [N, C, H, W], with the same float type and device.
        cutoff: the weight below which a pair of tiles is left out, above 0.

    Returns:
        [N, K, H, W]. Needs 16 MiB (float32) plus copies of one image's planes.
    """
    filtered = torch.empty_like(values)
    height, width = values.shape[2:]
    reach = -2 * math.log(cutoff)  # squared distance
    for one, colours, out in zip(values, image, filtered, strict=True):
        maps = features(colours, sigma_xy, sigma_rgb).t().view(-1, height, width)  # [d, H, W]
        points = tiles(extend(maps))  # [M, T, d]
        channels = tiles(torch.nn.functional.pad(one, _margins(height, width)))  # [M, T, K]
        sums = _sum_near(points, channels, reach)  # [M, T, K]
        out.copy_(untile(sums, height, width))
    return filtered


def extend(maps: torch.Tensor) -> torch.Tensor:
    """[d, H, W] to whole tiles [d, h, w]; repeats the last row and column, so the tiles' boxes stay."""
    height, width = maps.shape[1:]
    _, right, _, below = _margins(height, width)
    rows = torch.arange(height + below, device=maps.device).clamp(max=height - 1)
    columns = torch.arange(width + right, device=maps.device).clamp(max=width - 1)
    return maps[:, rows[:, None], columns]


def tiles(maps: torch.Tensor) -> torch.Tensor:
    """Whole tiles [d, h, w] to [M, T, d]."""
    depth, height, width = maps.shape
    cut = maps.view(depth, height // TILE, TILE, width // TILE, TILE)
    return cut.permute(1, 3, 2, 4, 0).reshape(-1, TILE * TILE, depth)


def untile(sums: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """[M, T, K] to [K, H, W]."""
    across = -(-width // TILE)
    cut = sums.view(-1, across, TILE, TILE, sums.shape[2]).permute(4, 0, 2, 1, 3)
    return cut.reshape(sums.shape[2], -1, across * TILE)[:, :height, :width]


def near_tiles(points: torch.Tensor, reach: float) -> list[torch.Tensor]:
    """For each of the tiles [M, T, d], the indices of the tiles whose boxes are within `reach` (squared)."""
    low, high = points.amin(1), points.amax(1)  # [M, d]
    distance = low.new_zeros(len(low), len(low))  # [M, M]
    for axis in range(low.shape[1]):
        gap = low[:, None, axis] - high[None, :, axis]
        distance += torch.maximum(gap, gap.t()).clamp(min=0).square()
    near = ~(distance > reach)  # true for NaN too, which must not vanish from the sum
    return list(near.nonzero()[:, 1].split(near.sum(1).tolist()))


def _sum_near(points: torch.Tensor, channels: torch.Tensor, reach: float) -> torch.Tensor:
    sums = torch.zeros_like(channels)  # [M, T, K]
    for tile, others in enumerate(near_tiles(points, reach)):
        # Relative to the tile's centre, near features are small numbers, so their squares lose no precision.
        centre = points[tile].mean(0)  # [d]
        own = points[tile] - centre  # [T, d]
        for some in others.split(_AT_ONCE):
            met = (points[some] - centre).flatten(0, 1)  # [T n, d]
            exponents = torch.addmm(-met.square().sum(1) / 2, own, met.t())  # [T, T n]
            exponents -= own.square().sum(1, keepdim=True) / 2
            sums[tile] += exponents.exp_() @ channels[some].flatten(0, 1)
    return sums


def _margins(height: int, width: int) -> tuple[int, int, int, int]:
    """The padding that completes the tiles, in the order of torch's pad: left, right, above, below."""
    return 0, -width % TILE, 0, -height % TILE
