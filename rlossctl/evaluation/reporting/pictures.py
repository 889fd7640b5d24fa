"""A picture of where a prediction is wrong."""

from __future__ import annotations

import numpy as np

from rlossctl.data.drawing import blend, grey

# Vermilion: people with any colour vision can tell it from the grey of the rest.
WRONG = (213, 94, 0)
RIGHT = (86, 130, 160)


def error_map(photo: np.ndarray, truth: np.ndarray, prediction: np.ndarray, ignore: int = 255) -> np.ndarray:
    """The grey photo with wrong pixels in vermilion, right ones in dim blue and ignored ones light.

    Returns:
        uint8 [H, W, 3] RGB.
    """
    light = grey(photo)
    ignored = truth == ignore
    wrong = (truth != prediction) & ~ignored
    out = blend(light * 0.75, np.array(RIGHT), 0.35)
    out[wrong] = blend(light, np.array(WRONG), 0.8)[wrong]
    out[ignored] = blend(light, np.array((255, 255, 255)), 0.6)[ignored]
    return out
