"""What an ONNX file says of its pixels in ONNX's own words."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from rlossctl.converters.onnx.image_metadata import describe_image
from rlossctl.data.modelcard import ModelCard
from rlossctl.data.preprocess import Preprocess


def described(card: ModelCard) -> tuple[dict[str, str], list[str]]:
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])
    model = helper.make_model(helper.make_graph([], "g", [image], []))
    describe_image(model, card)
    dims = [dim.denotation for dim in model.graph.input[0].type.tensor_type.shape.dim]
    words = {entry.key.removeprefix("Image."): entry.value for entry in model.metadata_props}
    return words, [model.graph.input[0].type.denotation, *dims]


@pytest.mark.parametrize(
    ("preprocess", "pixels", "range_"),
    [
        (Preprocess(), "Bgr8", "NominalRange_0_255"),
        (Preprocess(scale=1 / 255, channel_order="rgb"), "Rgb8", "Normalized_0_1"),
        (Preprocess((127.5,) * 3, scale=1 / 127.5), "Bgr8", "Normalized_1_1"),
        (Preprocess((127.5,) * 3, std_bgr=(127.5,) * 3, channel_order="grey"), "Gray8", "Normalized_1_1"),
        (Preprocess((104.0, 117.0, 123.0)), "Bgr8", None),
    ],
)
def test_prepared_images(preprocess, pixels, range_):
    words, denotations = described(ModelCard(preprocess=preprocess))
    assert words["BitmapPixelFormat"] == pixels and words["ColorSpaceGamma"] == "SRGB"
    assert words.get("NominalPixelRange") == range_
    assert denotations == ["IMAGE", "DATA_BATCH", "DATA_CHANNEL", "DATA_FEATURE", "DATA_FEATURE"]


def test_photos():
    words, denotations = described(
        ModelCard(preprocess=Preprocess((104.0, 117.0, 123.0)), preprocessing_inside=True)
    )
    assert words["BitmapPixelFormat"] == "Rgb8" and words["NominalPixelRange"] == "NominalRange_0_255"
    assert denotations[0] == "IMAGE" and denotations[-1] == "DATA_CHANNEL"


def test_an_input_of_unknown_meaning_stays_without_words():
    assert described(ModelCard()) == ({}, [""] * 5)
