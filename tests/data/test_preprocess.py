from __future__ import annotations

import json

import numpy as np
import pytest

from rlossctl.data.preprocess import Preprocess
from rlossctl.data.sources.imageseg import ImageSegSource
from rlossctl.errors import DataError

VOC = "mean_value: 104.008 mean_value: 116.669 mean_value: 122.675 crop_size: 20 scale: 0.5"


def photo(rows, columns):
    return np.random.default_rng(0).integers(0, 256, (rows, columns, 3)).astype(np.uint8)


def test_from_layer_and_json(layer):
    prepared = Preprocess.from_layer(layer("", VOC), stride=8, offset=1)
    assert prepared.mean_bgr == pytest.approx((104.008, 116.669, 122.675)) and prepared.crop == (20, 20)
    assert (prepared.scale, prepared.channel_order, prepared.stride, prepared.offset) == (0.5, "bgr", 8, 1)
    assert Preprocess.from_json(prepared.to_json()) == prepared
    assert json.loads(prepared.to_json())["crop"] == [20, 20]
    one = Preprocess.from_layer(layer("", "mean_value: 7"))
    assert one.mean_bgr == (7.0, 7.0, 7.0) and one.crop is None
    assert Preprocess.from_layer(layer()) == Preprocess()
    with pytest.raises(DataError, match="mean_file"):
        Preprocess.from_layer(layer("", 'mean_file: "m"'))


def test_small_images_are_padded_to_the_crop_with_zero(layer):
    image = photo(12, 20)
    data, real = Preprocess.from_layer(layer("", VOC)).apply(image)
    assert data.shape == (3, 20, 20) and data.dtype == np.float32 and real == (12, 20)
    mean = np.array([104.008, 116.669, 122.675], np.float32)
    assert np.array_equal(data[:, :12], ((image - mean) * np.float32(0.5)).transpose(2, 0, 1))
    assert (data[:, 12:] == 0).all()


@pytest.mark.parametrize(
    ("size", "expected"), [((20, 21), (20, 25)), ((25, 26), (25, 33)), ((5, 40), (20, 41))]
)
def test_larger_images_grow_to_the_stride(size, expected):
    data, real = Preprocess(crop=(20, 20), stride=8, offset=1).apply(photo(*size))
    assert data.shape == (3, *expected) and real == size


def test_without_crop_and_stride_the_size_stays():
    assert Preprocess().apply(photo(7, 9))[0].shape == (3, 7, 9)
    assert Preprocess(stride=32).apply(photo(33, 64))[0].shape == (3, 64, 64)


def test_rgb_turns_channels_with_their_means():
    image = photo(4, 5)
    bgr, _ = Preprocess(mean_bgr=(1, 2, 3)).apply(image)
    rgb, _ = Preprocess(mean_bgr=(1, 2, 3), channel_order="rgb").apply(image)
    assert np.array_equal(rgb, bgr[::-1]) and np.array_equal(rgb[0], image[:, :, 2] - 3.0)


def test_caffes_centre_crop_is_the_test_phase(folder, layer):
    from rlossctl.data.images import read_image

    message = layer("batch_size: 1 label_type: PIXEL", VOC)
    prepared = Preprocess.from_layer(message)
    data = ImageSegSource(message, "TEST", source=folder / "list.txt", root=folder)
    for index in range(7):
        expected, _, dim = data.next_batch()
        image, real = prepared.apply_caffe(read_image(folder / f"images/{index}.png"))
        assert np.array_equal(image, expected[0]) and list(real) == dim.ravel().tolist()
    assert Preprocess().apply_caffe(photo(4, 5))[1] == (4, 5)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"crop": 3}', '{"means": [1]}', '{"channel_order": "grb"}'])
def test_damaged_metadata(text):
    with pytest.raises(DataError):
        Preprocess.from_json(text, "model.onnx")


@pytest.mark.parametrize(
    "fields",
    [
        {"mean_bgr": (1.0, 2.0)},
        {"mean_bgr": (1.0, 2.0, float("nan"))},
        {"scale": 0.0},
        {"scale": float("inf")},
        {"crop": (-1, 5)},
        {"crop": (0, 0)},
        {"stride": 0},
        {"channel_order": "rbg"},
    ],
)
def test_impossible_values_are_refused(fields):
    with pytest.raises(DataError, match="impossible preprocessing"):
        Preprocess(**fields)
