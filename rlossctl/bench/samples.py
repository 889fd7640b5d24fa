"""Generated images and scores for measurements: the same for everybody, without any files."""

from __future__ import annotations

import torch
from torch.nn import functional

KINDS = ("smooth", "textured")


def picture(kind: str, batch: int, size: int) -> torch.Tensor:
    """Images [batch, 3, size, size] of 0..255: patches of colour, with less or more detail.

    At 257 pixels and sigmas (50, 15), `smooth` has about as many lattice vertices and distinct simplices as
    street photos (CamVid), and `textured` about as many as photos of all kinds (VOC); see docs/filter.md.
    """
    generator = torch.Generator().manual_seed(size)

    def noise(cells: int, channels: int) -> torch.Tensor:
        coarse = torch.rand(batch, channels, max(cells, 2), max(cells, 2), generator=generator)
        return functional.interpolate(coarse, size=(size, size), mode="bicubic") - 0.5

    grey = noise(5, 1) + 0.5 * noise(12, 1)  # the channels of a photo vary together
    if kind == "smooth":
        shades = 0.9 * grey + 0.1 * noise(6, 3) + 0.06 * noise(size // 2, 1)
    else:
        shades = 0.9 * grey + 0.35 * noise(7, 3) + 0.15 * noise(size // 4, 1) + 0.03 * noise(size, 3)
    return ((shades + 0.5).clamp(0, 1) * 255).round()


def scores(batch: int, channels: int, size: int) -> torch.Tensor:
    """Softmax scores [batch, channels, size, size]."""
    generator = torch.Generator().manual_seed(channels)
    return torch.randn(batch, channels, size, size, generator=generator).softmax(dim=1)
