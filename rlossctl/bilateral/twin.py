"""The filter in plain torch operations: the readable definition, for every device and float type.

It follows the mathematics of the permutohedral lattice (Adams, Baek, Davis: Fast High-Dimensional Filtering
Using the Permutohedral Lattice, 2010). Float operations keep the original filter's order, and ties are broken
in the same way, so that a pixel on the border of two simplices falls to the same side. Shapes: P pixels, d
features, E = d + 1 lattice coordinates and vertices of a simplex, V distinct vertices, K channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlossctl.bilateral.packing import Packing, pack, pack_points, scales

FORWARD, BACKWARD, MEAN = range(3)  # the blur's axes 0..d (the original), d..0 (its transpose), their mean


@dataclass(frozen=True)
class Lattice:
    """The lattice of one image; it does not depend on the values to filter.

    Attributes:
        index: [P, E], row numbers of the vertices around each pixel.
        weights: [P, E], the barycentric weight of each vertex.
        links: for each axis, the row numbers of the vertices one step along it and against it, each [V].
    """

    index: torch.Tensor
    weights: torch.Tensor
    links: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @classmethod
    def build(cls, colours: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> Lattice:
        """Builds the lattice from the image's colours [C, H, W]."""
        packing = pack(colours, sigma_xy, sigma_rgb)
        return cls.of_points(features(colours, sigma_xy, sigma_rgb), packing)

    @classmethod
    def of_points(cls, points: torch.Tensor, packing: Packing) -> Lattice:
        """Builds the lattice of points [P, d], whose features are in units of their standard deviations."""
        count = len(points)
        quotients, ranks, weights = embed(with_phantom(points))  # each [P or P + 1, E]
        keys = vertex_keys(quotients, ranks, packing)  # [P or P + 1, E]
        vertices, index = keys.unique(return_inverse=True)  # [V] ascending, [P or P + 1, E]
        axes = range(len(packing.shifts) + 1)
        links = tuple(neighbours(vertices, axis, packing) for axis in axes)
        return cls(index[:count], weights[:count], links)

    def filter(self, values: torch.Tensor, order: int = FORWARD) -> torch.Tensor:
        """A applied to values [K, ...] of P pixels; `order` is FORWARD, BACKWARD (gives A^T) or MEAN."""
        pixels = values.flatten(1).t()  # [P, K]
        rows = splat(pixels, self.index, self.weights, len(self.links[0][0]))  # [V + 1, K]
        if order == MEAN:
            rows = (blur(rows.clone(), self.links) + blur(rows, self.links[::-1])) / 2
        else:
            rows = blur(rows, self.links[::-1] if order == BACKWARD else self.links)  # [V + 1, K]
        return slice_rows(rows, self.index, self.weights).t().reshape(values.shape)  # [K, H, W]


class Lattices:
    """The lattices of the images [N, C, H, W], kept to filter many times."""

    def __init__(self, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> None:
        self._kept = [Lattice.build(colours, sigma_xy, sigma_rgb) for colours in image]

    def filter(self, values: torch.Tensor, order: int = FORWARD) -> torch.Tensor:
        """A applied to values [N, K, H, W], with the images' N, H and W."""
        pairs = zip(self._kept, values, strict=True)
        return torch.stack([lattice.filter(one, order) for lattice, one in pairs])


class PointLattices:
    """The lattices of sets of points [B, P, d], kept to filter many times."""

    def __init__(self, points: torch.Tensor) -> None:
        self._kept = [Lattice.of_points(own, pack_points(own)) for own in points]

    def filter(self, values: torch.Tensor, order: int = FORWARD) -> torch.Tensor:
        """A applied to values [B, K, P]."""
        pairs = zip(self._kept, values, strict=True)
        return torch.stack([lattice.filter(one, order) for lattice, one in pairs])


def lattice_filter(
    values: torch.Tensor,
    image: torch.Tensor,
    sigma_xy: float,
    sigma_rgb: float,
    order: int = FORWARD,
) -> torch.Tensor:
    """A applied to values [N, K, H, W] over image [N, C, H, W]; both of one float type and device."""
    filtered = torch.empty_like(values)
    for one, colours, out in zip(values, image, filtered, strict=True):
        out.copy_(Lattice.build(colours, sigma_xy, sigma_rgb).filter(one, order))
    return filtered


def features(colours: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> torch.Tensor:
    """The features (x, y) / sigma_xy, colours / sigma_rgb of each pixel of colours [C, H, W]: [P, d]."""
    height, width = colours.shape[1:]
    # Divide by tensors on the device. To divide by a number, CUDA multiplies by the reciprocal, which rounds
    # differently, so a pixel on the border of two simplices would fall to the other side.
    of_place, of_colour = colours.new_full((), sigma_xy), colours.new_full((), sigma_rgb)
    x = torch.arange(width, dtype=colours.dtype, device=colours.device) / of_place
    y = torch.arange(height, dtype=colours.dtype, device=colours.device) / of_place
    planes = [x.expand(height, width), y[:, None].expand(height, width), *(colours / of_colour)]
    return torch.stack(planes, dim=-1).flatten(0, 1)  # [P, d]


def with_phantom(points: torch.Tensor) -> torch.Tensor:
    """Adds a point with feature zero to points [P, d] if P is not a multiple of 4.

    The original processes four pixels at a time and fills the last group with zeros. That adds the vertices
    around feature zero to the lattice: no pixel writes to them, but the blur passes through them.
    """
    return torch.cat([points, torch.zeros_like(points[: min(1, len(points) % 4)])])  # [P or P + 1, d]


def elevate(points: torch.Tensor) -> torch.Tensor:
    """Maps features [P, d] to the plane where E coordinates add up to 0: [P, E]."""
    count = points.shape[1]
    scaled = points * points.new_tensor(scales(count))  # [P, d]
    total = torch.zeros_like(scaled[:, 0])  # [P]
    columns = []
    for i in range(count, 0, -1):
        columns.append(total - i * scaled[:, i - 1])
        total = total + scaled[:, i - 1]
    columns.append(total)
    return torch.stack(columns[::-1], dim=1)  # [P, E]


def embed(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Finds the simplex around each point [P, d].

    Returns:
        quotients [P, E]: coordinates / E of the simplex's vertex with remainder 0, whole numbers;
        ranks [P, E]: 0 for the coordinate that is farthest above that vertex, d for the farthest below;
        weights [P, E]: barycentric weights of the vertices with remainder 0..d.
    """
    elevated = elevate(points)  # [P, E]
    edge = elevated.shape[1]
    quotients = (elevated * (1 / edge)).round()  # [P, E] nearest vertex with remainder 0, if it is a vertex
    order = (elevated - quotients * edge).argsort(dim=1, descending=True, stable=True)  # [P, E]
    ranks = torch.empty_like(order).scatter_(
        1, order, torch.arange(edge, device=order.device).expand_as(order)
    )
    # If the quotients do not add up to 0, the coordinates at the end of the order step back by one.
    ranks = ranks + quotients.sum(dim=1, keepdim=True).long()  # [P, E] in -d..2d
    step = (ranks < 0).long() - (ranks >= edge).long()  # [P, E]
    ranks = ranks + step * edge
    quotients = quotients + step
    above = (elevated - quotients * edge) * (1 / edge)  # [P, E] differences of at most 1
    sorted_above = torch.empty_like(above).scatter_(1, ranks, above).flip(1)  # [P, E] ascending
    first = 1 + (sorted_above[:, :1] - sorted_above[:, -1:])  # [P, 1]
    weights = torch.cat([first, sorted_above[:, 1:] - sorted_above[:, :-1]], dim=1)  # [P, E]
    return quotients.long(), ranks, weights


def vertex_keys(quotients: torch.Tensor, ranks: torch.Tensor, packing: Packing) -> torch.Tensor:
    """Keys of the E vertices of each simplex, [P, E]; in vertex r, the last r ranks are lower by one."""
    edge = quotients.shape[1]
    remainders = torch.arange(edge, device=quotients.device)  # [E]
    keys = remainders.expand(len(quotients), edge).clone()  # [P, E]
    for i, (low, shift) in enumerate(zip(packing.lows, packing.shifts, strict=True)):
        lowered = ranks[:, i, None] >= edge - remainders  # [P, E]
        keys += (quotients[:, i, None] - lowered.long() - low) << shift
    return keys


def splat(pixels: torch.Tensor, index: torch.Tensor, weights: torch.Tensor, count: int) -> torch.Tensor:
    """Adds each pixel's channels [P, K] to its vertices; row `count` stays 0, for missing neighbours."""
    rows = pixels.new_zeros(count + 1, pixels.shape[1])  # [V + 1, K]
    for r in range(index.shape[1]):
        rows.index_add_(0, index[:, r], pixels * weights[:, r, None])
    return rows


def blur(rows: torch.Tensor, links: tuple[tuple[torch.Tensor, torch.Tensor], ...]) -> torch.Tensor:
    """One pass of [1/2, 1, 1/2] along each lattice axis in turn, in place. The order matters: each pass is
    symmetric, but two passes do not commute if vertices are missing."""
    for up, down in links:
        rows[:-1] += (rows[up] + rows[down]) / 2
    return rows


def neighbours(vertices: torch.Tensor, axis: int, packing: Packing) -> tuple[torch.Tensor, torch.Tensor]:
    """Row numbers of the vertices one step along and against `axis`; V if the vertex is missing.

    A step along the axis adds d to its coordinate and subtracts 1 from all others. In terms of remainder and
    quotients, it subtracts 1 from the remainder and adds 1 to the axis's quotient. At remainder 0, it goes to
    remainder d and subtracts 1 from every other quotient.
    """
    units = [1 << shift for shift in packing.shifts]
    units.append(0)  # the last coordinate follows from the others and is not in the key
    own = units[axis]
    others = sum(units) - own
    last = len(packing.shifts)
    remainder = vertices & 7  # [V]
    up = torch.where(remainder == 0, vertices + (last - others), vertices + (own - 1))  # [V]
    down = torch.where(remainder == last, vertices - (last - others), vertices - (own - 1))  # [V]
    return _find(up, vertices), _find(down, vertices)


def _find(keys: torch.Tensor, vertices: torch.Tensor) -> torch.Tensor:
    count = len(vertices)
    place = torch.searchsorted(vertices, keys)  # [V]
    found = vertices[place.clamp(max=count - 1)] == keys
    return torch.where(found, place, count)


def slice_rows(rows: torch.Tensor, index: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Reads each pixel back from its vertices, [P, K]; the factor cancels the gain of the blur."""
    edge = index.shape[1]
    pixels = rows.new_zeros(len(index), rows.shape[1])  # [P, K]
    for r in range(edge):
        pixels += rows[index[:, r]] * weights[:, r, None]
    return pixels * (1 / (1 + 2.0 ** -(edge - 1)))
