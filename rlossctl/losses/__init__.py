"""Regularized losses: functional mathematics and torch modules, usable without any prototxt."""

from rlossctl.losses.densecrf import DenseCRFLoss, caffe_mask, densecrf_loss

__all__ = ["DenseCRFLoss", "caffe_mask", "densecrf_loss"]
