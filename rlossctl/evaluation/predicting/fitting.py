"""Fits preprocessing and protocol to what a model demands of its input."""

from __future__ import annotations

from dataclasses import replace

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError, UsageError
from rlossctl.evaluation.predicting.protocol import Protocol
from rlossctl.evaluation.running.intake import Intake
from rlossctl.evaluation.running.runners import Model


def fit_preprocess(preprocess: Preprocess | None, runner: Model) -> Preprocess:
    """The preprocessing, else the model's own, with the model's channels and multiples.

    Raises:
        NetError: neither is known.
        UsageError: values are to be prepared for a model that takes bytes.
    """
    known, intake = preprocess or runner.preprocess, runner.intake
    if known is None:
        if not intake.raw:
            raise NetError(
                "the model does not say how to prepare its images",
                expected="a data layer in the prototxt, or rlossctl's metadata in the ONNX file",
                advice="give the mean with --mean B,G,R in 0..255 (and --scale, --std, --rgb, --crop if they "
                "differ from Caffe's)",
            )
        known = Preprocess()
    if intake.raw and (any(known.mean_bgr) or known.scale != 1 or known.std_bgr != (1, 1, 1)):
        raise UsageError(
            "the model takes bytes, so photos cannot be prepared for it",
            found=f"mean {known.mean_bgr}, scale {known.scale:g}, std {known.std_bgr}",
            expected="photos as they are, with values from 0 to 255",
            advice="leave out --mean, --scale and --std",
        )
    if intake.grey:
        known = replace(known, channel_order="grey")
    if intake.multiple > 1 and known.stride == 1:
        known = replace(known, stride=intake.multiple)
    return known


def fit_protocol(protocol: Protocol, intake: Intake, preprocess: Preprocess | None) -> Protocol:
    """The protocol; for a model that takes one size, whole photos become tiles of that size.

    Tiles become as large as the model's rule of sizes wants them (180 becomes 185 for sides 8 k + 1).
    """
    if intake.window is not None and protocol.name == "whole":
        return replace(protocol, name="tiles", tile=intake.window)
    if protocol.tile is None or preprocess is None or intake.window is not None:
        return protocol
    return replace(protocol, tile=replace(preprocess, crop=None).padded(*protocol.tile))
