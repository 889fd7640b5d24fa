"""The numpy Interp against a direct formula and against Caffe's recordings."""

from __future__ import annotations

import numpy as np
import pytest

from rlossctl.evaluation.predicting.upsample import upsample


def direct(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    out = np.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            sy = y * (plane.shape[0] - 1) / (size[0] - 1) if size[0] > 1 else 0.0
            sx = x * (plane.shape[1] - 1) / (size[1] - 1) if size[1] > 1 else 0.0
            y0, x0 = int(sy), int(sx)
            y1, x1 = min(y0 + 1, plane.shape[0] - 1), min(x0 + 1, plane.shape[1] - 1)
            fy, fx = sy - y0, sx - x0
            out[y, x] = (plane[y0, x0] * (1 - fx) + plane[y0, x1] * fx) * (1 - fy)
            out[y, x] += (plane[y1, x0] * (1 - fx) + plane[y1, x1] * fx) * fy
    return out


@pytest.mark.parametrize("size", [(17, 25), (16, 16), (3, 9), (1, 7), (5, 4)])
@pytest.mark.parametrize("source", [(3, 4), (5, 4), (1, 1)])
def test_agrees_with_the_formula(source, size):
    scores = np.random.default_rng(0).normal(size=(2, 3, *source)).astype(np.float32)
    got = upsample(scores, size)
    assert got.dtype == np.float32
    for n in range(2):
        for c in range(3):
            np.testing.assert_allclose(got[n, c], direct(scores[n, c], size), rtol=1e-5, atol=1e-5)


def test_agrees_with_caffe(shared):
    case = np.load(shared / "golden" / "layers" / "interp_zoom8.npz")
    (bottom,) = (case[key] for key in case.files if key.startswith("bottom/"))
    (top,) = (case[key] for key in case.files if key.startswith("top/"))
    np.testing.assert_allclose(upsample(bottom, top.shape[2:]), top, rtol=1e-5, atol=1e-6)


def test_keep_cuts_the_same_values():
    scores = np.random.default_rng(1).normal(size=(1, 2, 9, 9)).astype(np.float32)
    np.testing.assert_array_equal(
        upsample(scores, (65, 65), keep=(40, 33)), upsample(scores, (65, 65))[:, :, :40, :33]
    )
    np.testing.assert_array_equal(upsample(scores, (9, 9), keep=(4, 5)), scores[:, :, :4, :5])
