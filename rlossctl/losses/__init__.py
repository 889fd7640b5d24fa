"""Regularized losses: functional mathematics and torch modules, usable without any prototxt."""

from rlossctl.losses.densecrf import DenseCRFLoss, caffe_mask, densecrf_loss
from rlossctl.losses.inputs import LossInputWarning
from rlossctl.losses.modes import compare_modes, weight_factor

__all__ = [
    "DenseCRFLoss",
    "LossInputWarning",
    "caffe_mask",
    "compare_modes",
    "densecrf_loss",
    "weight_factor",
]
