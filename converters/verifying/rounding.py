"""Whether a difference is a fault, or rounding that the net itself amplifies.

Two libraries round the last digits differently. A net may make much of that: the softmax of scores around
1e4, which float32 knows to 1e-3, is known to 1e-3 of its largest value, ten times what is allowed. How much
shows in the net alone, run in single and in double precision.
"""

from __future__ import annotations

import numpy as np

from rlossctl.converters.verifying.blob_streams import TorchModel
from rlossctl.converters.verifying.comparison import Comparison, compare
from rlossctl.converters.verifying.trials import Trial
from rlossctl.errors import RlossError

_SHARE = 0.1  # of a difference: what the net's own rounding must explain at least


def is_rounding(bad: Comparison, own: float | None) -> bool:
    """Whether the net's own rounding is of the size of a difference."""
    return own is not None and np.isfinite(bad.error) and own >= _SHARE * bad.error


def own_rounding(net: TorchModel, trial: Trial, blob: str, softmax: bool) -> float | None:
    """How far a blob of the net in float32 is from the same in float64, as a share of its largest magnitude.

    Args:
        blob: one of the net's, or another name for what a file makes of the scores.
        softmax: whether it makes their softmax of them.

    Returns:
        None where the net cannot be run in double precision.
    """
    name = blob if blob in net.values else net.outputs[0]
    try:
        single = _value(net, trial.image, name)
        double = _value(net.doubled(), trial.image.astype(np.float64), name)
    except (RlossError, RuntimeError, TypeError):  # a layer that knows single precision only
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
