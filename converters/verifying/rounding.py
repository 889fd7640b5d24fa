"""Decides whether a difference is a fault, or rounding that the net itself amplifies.

Two libraries round the last digits differently, and a net may amplify that. For example, float32 has an error
of 1e-3 for scores around 1e4, so their softmax has an error of 1e-3 of its largest value, ten times what is
allowed. To see how large the effect is, the net alone is run in single and in double precision.
"""

from __future__ import annotations

import numpy as np

from rlossctl.converters.verifying.blob_streams import TorchModel
from rlossctl.converters.verifying.comparison import Comparison, compare
from rlossctl.converters.verifying.trials import Trial
from rlossctl.errors import RlossError

_SHARE = 0.1  # the net's own rounding must explain at least this share of a difference


def is_rounding(bad: Comparison, own: float | None) -> bool:
    """Whether the net's own rounding is about as large as a difference."""
    return own is not None and np.isfinite(bad.error) and own >= _SHARE * bad.error


def own_rounding(net: TorchModel, trial: Trial, blob: str, softmax: bool) -> float | None:
    """How much a blob of the net differs in float32 and float64, as a share of its largest magnitude.

    Args:
        blob: one of the net's blobs, or the name of the output that a file makes from the scores.
        softmax: whether that output is the scores' softmax.

    Returns:
        None if the net cannot run in double precision.
    """
    name = blob if blob in net.values else net.outputs[0]
    try:
        single = _value(net, trial.image, name)
        double = _value(net.doubled(), trial.image.astype(np.float64), name)
    except (RlossError, RuntimeError, TypeError):  # a layer that supports only single precision
        return None
    if name != blob and softmax:
        single, double = _softmax(single), _softmax(double)
    return compare(trial.name, blob, single, double).error


def _value(net: TorchModel, image: np.ndarray, name: str) -> np.ndarray:
    (found,) = [blob.array for blob in net.blobs(image, {name})]
    return found


def _softmax(scores: np.ndarray) -> np.ndarray:
    exponents = np.exp(scores - scores.max(1, keepdims=True))
    result: np.ndarray = exponents / exponents.sum(1, keepdims=True)
    return result
