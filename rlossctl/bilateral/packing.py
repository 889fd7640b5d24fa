"""How a lattice vertex becomes one 64-bit key.

A vertex of the lattice in d dimensions has d + 1 integer coordinates that all have the same remainder r
modulo d + 1 and add up to 0. So r and the quotients q[0..d-1] of the first d coordinates identify it. A key
holds r in its lowest 3 bits. Above r it holds each quotient, shifted to start at 0, in as many bits as the
range of this image's features needs. A step to a neighbour changes r and adds 1 to quotients or subtracts 1;
the ranges leave room for that, so a step is an addition to the key.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import torch

from rlossctl.errors import NetError

REMAINDER_BITS = 3
MAX_BITS = 63
# Beyond this, float32 cannot resolve the position inside a simplex: a step of a quotient is d + 1 units of a
# coordinate, and at this size the coordinate's last bit is 1/64.
MAX_QUOTIENT = 2**15


@dataclass(frozen=True)
class Packing:
    """`lows[i]` is the smallest possible quotient i, `shifts[i]` the bit where it starts in a key."""

    lows: tuple[int, ...]
    shifts: tuple[int, ...]


@functools.cache
def scales(dimensions: int) -> tuple[float, ...]:
    """Factors that make the lattice's blur a Gaussian with standard deviation 1 in each feature."""
    unit = math.sqrt(2 / 3) * (dimensions + 1)
    return tuple(unit / math.sqrt((i + 1) * (i + 2)) for i in range(dimensions))


def pack(image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> Packing:
    """Lays out the keys for one image [C, H, W].

    Raises:
        NetError: the image has NaN or infinity, or features are too far apart for 64-bit keys.
    """
    height, width = image.shape[1:]
    low, high = colour_range(image[None])
    spans = [(0.0, (width - 1) / sigma_xy), (0.0, (height - 1) / sigma_xy)]
    # 0 is always in range: the lattice may include the vertices around feature zero (see twin.with_phantom).
    spans += [(min(a, 0) / sigma_rgb, max(b, 0) / sigma_rgb) for a, b in zip(low, high, strict=True)]
    packing = _packing(spans)
    if packing is None:
        raise NetError(
            "sigma is too small: the lattice has more vertices than keys can tell apart",
            where="bilateral filter",
            found=f"sigma_xy {sigma_xy:g}, sigma_rgb {sigma_rgb:g} for a {width}x{height} image with colours "
            f"from {min(low, default=0):g} to {max(high, default=0):g}",
            expected="an image and a range of colours of at most a few thousand sigmas",
            advice="give sigma_xy in pixels and sigma_rgb in the image's own units (0..255 or 0..1)",
        )
    return packing


def pack_points(points: torch.Tensor) -> Packing:
    """Lays out the keys for points [P, d], whose features are in units of their standard deviations.

    Raises:
        NetError: features are NaN or infinite, or too far apart for 64-bit keys.
    """
    low, high = points.amin(0).tolist(), points.amax(0).tolist()
    if not all(math.isfinite(value) for value in low + high):
        raise NetError(
            "the features hold NaN or infinity",
            where="filter of points",
            found=f"minima {low}, maxima {high}",
            expected="finite features",
            advice="check the data that the features come from",
        )
    packing = _packing([(min(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True)])
    if packing is None:
        found = ", ".join(f"{a:g} to {b:g}" for a, b in zip(low, high, strict=True))
        raise NetError(
            "the features are too far apart: the lattice has more vertices than keys can tell apart",
            where="filter of points",
            found=found,
            expected="a range of at most a few thousand standard deviations, and near 0",
            advice="divide each feature by its standard deviation; subtract an offset that all points share",
        )
    return packing


def colour_range(image: torch.Tensor) -> tuple[list[float], list[float]]:
    """The smallest and greatest value of each channel of images [N, C, H, W].

    Raises:
        NetError: the image has NaN or infinity.
    """
    low, high = image.amin((0, 2, 3)).tolist(), image.amax((0, 2, 3)).tolist()
    if not all(math.isfinite(value) for value in low + high):
        raise NetError(
            "the image holds NaN or infinity",
            where="bilateral filter",
            found=f"channel minima {low}, maxima {high}",
            expected="finite colours",
            advice="check the data that feeds the loss",
        )
    return low, high


def _packing(spans: list[tuple[float, float]]) -> Packing | None:
    """The layout for features in these spans; None if 64 bits are not enough."""
    ranges = _quotient_ranges(spans)
    lows, shifts, bits = [], [], REMAINDER_BITS
    for first, last in ranges:
        lows.append(first)
        shifts.append(bits)
        bits += (last - first).bit_length()
    if bits > MAX_BITS or any(max(-first, last) > MAX_QUOTIENT for first, last in ranges):
        return None
    return Packing(tuple(lows), tuple(shifts))


def _quotient_ranges(spans: list[tuple[float, float]]) -> list[tuple[int, int]]:
    """Bounds of the quotients of coordinates 0..d-1 by interval arithmetic over the elevation."""
    count = len(spans)
    scaled = [(a * s, b * s) for (a, b), s in zip(spans, scales(count), strict=True)]
    ranges = []
    rest_low, rest_high = sum(a for a, _ in scaled), sum(b for _, b in scaled)  # sums over scaled[i:]
    for i, (a, b) in enumerate(scaled):
        low, high = rest_low, rest_high
        rest_low, rest_high = rest_low - a, rest_high - b
        if i > 0:
            low, high = low - i * scaled[i - 1][1], high - i * scaled[i - 1][0]
        # Rounding to the nearest remainder-0 vertex moves a quotient by 1/2, and the correction to the
        # enclosing simplex by 1. The simplex reaches 1 lower, and a neighbour 1 further.
        ranges.append((math.floor(low / (count + 1) - 3.5), math.ceil(high / (count + 1) + 3.5)))
    return ranges
