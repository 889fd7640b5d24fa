"""ONNX's own words for an input that is an image (docs/MetadataProps.md and TypeDenotation.md of ONNX)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlossctl.data.modelcard import ModelCard
from rlossctl.data.preprocess import Preprocess

if TYPE_CHECKING:
    from onnx import ModelProto

FORMATS = {"bgr": "Bgr8", "rgb": "Rgb8", "grey": "Gray8"}
RANGES = {(0, 255): "NominalRange_0_255", (0, 1): "Normalized_0_1", (-1, 1): "Normalized_1_1"}
PHOTO = ("DATA_BATCH", "DATA_FEATURE", "DATA_FEATURE", "DATA_CHANNEL")
PLANES = ("DATA_BATCH", "DATA_CHANNEL", "DATA_FEATURE", "DATA_FEATURE")


def describe_image(model: ModelProto, card: ModelCard) -> None:
    """Says what the pixels of the input are, if it is known how photos become the input.

    The range is left out if it is not one of those that ONNX names, as with a mean for each channel.
    """
    if card.preprocess is None:
        return
    inside = card.preprocessing_inside
    image = model.graph.input[0].type
    image.denotation = "IMAGE"
    for dimension, meaning in zip(image.tensor_type.shape.dim, PHOTO if inside else PLANES, strict=True):
        dimension.denotation = meaning
    found = {
        "Image.BitmapPixelFormat": "Rgb8" if inside else FORMATS[card.preprocess.channel_order],
        "Image.ColorSpaceGamma": "SRGB",
        "Image.NominalPixelRange": RANGES[0, 255] if inside else _range(card.preprocess),
    }
    for key, value in found.items():
        if value:
            model.metadata_props.add(key=key, value=value)


def _range(preprocess: Preprocess) -> str:
    """ONNX's name for the range of the net's input; "" if it has none."""
    ends = np.array([[0.0], [255.0]])
    scaled = (ends - preprocess.mean_bgr) * preprocess.scale / preprocess.std_bgr
    for (low, high), name in RANGES.items():
        if np.allclose(scaled[0], low, atol=1e-3) and np.allclose(scaled[1], high, atol=1e-3):
            return name
    return ""
