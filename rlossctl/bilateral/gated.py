"""A bilateral filter over a window, with gates between the pixels: the torch twin and its inputs.

Pixels i and j = i + d see each other if d lies in the window, with the weight

    k_ij = table[0, d] + sum over groups g of table[g, d] exp(-|f_gi - f_gj|^2 / 2), k_ii = 0.

A group has kernels that divide the image by the same deviations, so that a pair needs one exponential for all
of them; what depends on d alone is in the table. Gates are factors: j sends source_j, and i receives
destination_i. Pixels outside the image are in none of the pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pairs:
    """Which pixels see each other, and how strongly; all tensors of one float type on one device.

    Attributes:
        features: f, [G, N, F, h, w]; G may be 0.
        table: [1 + G, 2 r + 1, 2 s + 1] for windows of 2 r + 1 rows and 2 s + 1 columns with r < h and s < w;
            0 in its centre, and the same for d and -d.
        source, destination: [N, 1, h, w].
    """

    features: Tensor
    table: Tensor
    source: Tensor
    destination: Tensor

    def sizes(self, values: Tensor) -> tuple[int, ...]:
        """N, K, G, F, h, w, r and s, for values [N, K, h, w]."""
        groups, _, features = self.features.shape[:3]
        rows, columns = (size // 2 for size in self.table.shape[1:])
        return *values.shape[:2], groups, features, *values.shape[2:], rows, columns


def gated_filter(values: Tensor, pairs: Pairs) -> Tensor:
    """destination_i * sum over j of k_ij source_j values_j, for values [N, K, h, w]."""
    filtered = values.new_zeros(values.shape)
    for d in _half_window(pairs):
        to_first = d.weight * d.first(pairs.destination) * d.second(pairs.source)
        to_second = d.weight * d.second(pairs.destination) * d.first(pairs.source)
        d.first(filtered).addcmul_(to_first, d.second(values))
        d.second(filtered).addcmul_(to_second, d.first(values))
    return filtered


def gated_crf(values: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """The Potts energy of values [N, K, h, w]: its gradient [N, K, h, w], and its value for each image, [N].

    With w_ij = k_ij (destination_i source_j + destination_j source_i), the energy is the sum of
    w_ij (1 - <values_i, values_j>) over the pairs, each taken once. The energies are float64, because they
    have many terms.
    """
    gradient, energies = values.new_zeros(values.shape), values.new_zeros(len(values), dtype=torch.float64)
    for d in _half_window(pairs):
        gate = d.first(pairs.destination) * d.second(pairs.source) + d.second(pairs.destination) * d.first(
            pairs.source
        )
        weight = d.weight * gate  # [N, 1, ...]
        alike = (d.first(values) * d.second(values)).sum(1, keepdim=True)
        energies += (weight * (1 - alike)).sum((1, 2, 3), dtype=torch.float64)
        d.first(gradient).addcmul_(weight, d.second(values), value=-1)
        d.second(gradient).addcmul_(weight, d.first(values), value=-1)
    return gradient, energies


class _Offset(NamedTuple):
    """All pairs that lie (rows, columns) apart, rows 0 or more; `weight` is their k, [N or 1, 1, ...]."""

    rows: int
    columns: int
    weight: Tensor

    def first(self, planes: Tensor) -> Tensor:
        """The pairs' first pixels in [..., h, w]: a view."""
        height, width = planes.shape[-2:]
        left, right = max(-self.columns, 0), max(self.columns, 0)
        return planes[..., : height - self.rows, left : width - right]

    def second(self, planes: Tensor) -> Tensor:
        """The pixels (rows, columns) further: a view."""
        return planes[..., self.rows :, max(self.columns, 0) : planes.shape[-1] + min(self.columns, 0)]


def _half_window(pairs: Pairs) -> Iterator[_Offset]:
    """The offsets of the window's lower half: of d and -d, which are the same pairs, one."""
    middle, centre = (size // 2 for size in pairs.table.shape[1:])
    for rows in range(middle + 1):
        for columns in range(-centre if rows else 1, centre + 1):
            d = _Offset(rows, columns, pairs.table[0])
            yield d._replace(weight=_weight(pairs, d, pairs.table[:, middle + rows, centre + columns]))


def _weight(pairs: Pairs, d: _Offset, factors: Tensor) -> Tensor:
    """k of all pairs at one offset, from their line [1 + G] of the table."""
    if not len(pairs.features):
        return factors[0].view(1, 1, 1, 1)
    apart = d.first(pairs.features) - d.second(pairs.features)  # [G, N, F, ...]
    alike = (apart.square().sum(2, keepdim=True) / -2).exp()  # [G, N, 1, ...]
    return factors[0] + (factors[1:].view(-1, 1, 1, 1, 1) * alike).sum(0)
