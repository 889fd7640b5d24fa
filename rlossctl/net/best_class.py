"""The class with the greatest score at every pixel, on the device that holds the scores."""

from __future__ import annotations

import torch
from torch import nn

from rlossctl.counts import VOID


def best_classes(scores: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The best class of every pixel; the largest id among equal scores (torch's argmax takes the first).

    Args:
        scores: float [N, C, h, w].
        size: (H, W) of the result; smaller scores are upsampled with aligned corners.

    Returns:
        uint8 [N, H, W]; VOID where a score is NaN.
    """
    if scores.shape[2:] != size:
        scores = nn.functional.interpolate(scores, size, mode="bilinear", align_corners=True)
    best = scores[:, 0].clone()
    labels = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    for index in range(1, scores.shape[1]):
        # Ids only grow, so the maximum writes the winner's id (see evaluation's `rules.best_class`).
        wins = (scores[:, index] >= best).to(torch.uint8)
        torch.maximum(labels, wins.mul_(index), out=labels)
        torch.maximum(best, scores[:, index], out=best)
    return labels.masked_fill_(best.isnan(), VOID)
