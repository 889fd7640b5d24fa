"""What the tests of finished ONNX files share."""

from __future__ import annotations

import os

import numpy as np
import onnxruntime


def session(path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])


def photo(size: tuple[int, int]) -> np.ndarray:
    """Blobs of colour, blue first: labels vary, and so do the margins between them."""
    generator = np.random.default_rng(size[0] * 1000 + size[1])
    return generator.integers(0, 256, (*size, 3), dtype=np.uint8)
