"""Thinning: the skeletons of all regions of a label map at once."""

from __future__ import annotations

import numpy as np

# Neighbours in clockwise order from above, in which crossings are counted.
_CIRCLE = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def skeletons(index: np.ndarray) -> np.ndarray:
    """The thinned regions of `index` [H, W] (region numbers from 0), bool [H, W].

    Zhang and Suen's thinning (1984): two alternating passes remove border pixels whose removal neither splits
    a region nor shortens a line. Only pixels at the current border are examined, so the cost grows with the
    number of pixels, not with the thickness of the regions.
    """
    padded = np.pad(index, 1, constant_values=-1).ravel()
    columns = index.shape[1] + 2
    offsets = np.array([dy * columns + dx for dy, dx in _CIRCLE])
    alive = padded >= 0
    candidates = np.nonzero(alive)[0]
    quiet = 0
    while quiet < 2:
        for removable in _REMOVABLE:
            around = candidates[:, None] + offsets
            same = alive[around] & (padded[around] == padded[candidates][:, None])
            gone = candidates[removable[np.packbits(same, axis=1, bitorder="little")[:, 0]]]
            alive[gone] = False
            quiet = 0 if len(gone) else quiet + 1
            # Pixels away from the border stay; those at the border may go in a later pass.
            near = np.zeros(alive.shape, dtype=bool)
            near[candidates[~same.all(axis=1)]] = True
            near[gone[:, None] + offsets] = True
            candidates = np.nonzero(near & alive)[0]
    return alive.reshape(index.shape[0] + 2, columns)[1:-1, 1:-1]


def _removable(first: int, second: int) -> np.ndarray:
    """For each of the 256 neighbourhoods, whether a pass removes the pixel in the middle."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    count = bits.sum(axis=1)
    crossings = ((bits == 0) & (np.roll(bits, -1, axis=1) == 1)).sum(axis=1)
    up, right, down, left = bits[:, 0], bits[:, 2], bits[:, 4], bits[:, 6]
    sides = np.stack([up * right * down, right * down * left, up * right * left, up * down * left])
    return (count >= 2) & (count <= 6) & (crossings == 1) & (sides[first] == 0) & (sides[second] == 0)


_REMOVABLE = (_removable(0, 1), _removable(2, 3))
