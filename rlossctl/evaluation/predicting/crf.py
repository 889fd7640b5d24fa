"""The dense CRF after a net, built on this package's own filter. Needs torch."""

from __future__ import annotations

import numpy as np
import torch

from rlossctl.bilateral import mean_field
from rlossctl.evaluation.predicting.protocol import Crf

SMALLEST = torch.finfo(torch.float32).tiny


def refine(probabilities: np.ndarray, colours: np.ndarray, crf: Crf) -> np.ndarray:
    """Mean-field probabilities of a fully connected CRF with the model's log probabilities as unary term.

    Args:
        probabilities: float32 [C, H, W], in 0..1.
        colours: float32 [H, W, 3] in grey levels, with the mean subtracted, as in the fork's layer.

    Returns:
        float32 [C, H, W], summing to 1 over C.
    """
    scores = torch.from_numpy(probabilities)[None].clamp(min=SMALLEST).log()
    image = torch.from_numpy(np.ascontiguousarray(colours.transpose(2, 0, 1)))[None]
    q = mean_field(
        scores,
        image,
        crf.iterations,
        pos=[(crf.pos_xy_std, crf.pos_w)],
        bi=[(crf.bi_xy_std, crf.bi_rgb_std, crf.bi_w)],
    )
    return q[0].numpy()
