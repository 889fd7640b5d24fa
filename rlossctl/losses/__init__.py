"""Regularized losses as functions and torch modules, usable without a prototxt."""

from rlossctl.losses.densecrf import DenseCRFLoss, caffe_mask, densecrf_loss
from rlossctl.losses.modes import compare_modes, weight_factor

__all__ = ["DenseCRFLoss", "caffe_mask", "compare_modes", "densecrf_loss", "weight_factor"]
