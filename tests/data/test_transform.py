"""Caffe's order of operations against a slow, literal reference, and OpenCV's resizing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlossctl.data import resize as resizing
from rlossctl.data.resize import resize_bilinear, resize_nearest
from rlossctl.data.seg_transform import SegTransform, pad_to
from rlossctl.errors import DataError

from . import resizing as twin

MEAN = (104.008, 116.669, 122.675)


def literal(image, label, rng, *, phase, mean, scale, mirror, crop, factors, ignore):
    """Pixel by pixel, step by step: mirror drawn, scale drawn, floats, pad, crop, flip, normalise."""
    flip = mirror and rng.integers(2) == 1
    if factors:
        factor = factors[rng.integers(len(factors))]
        size = [int(np.float32(side) * np.float32(factor)) for side in label.shape]
        image, label = resize_bilinear(image, *size), resize_nearest(label, *size)
    rows, columns = label.shape
    height, width = max(rows, crop[0]), max(columns, crop[1])
    pixels = np.zeros((height, width, 3), np.float32)
    ids = np.zeros((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            inside = y < rows and x < columns
            pixels[y, x] = image[y, x] if inside else mean
            ids[y, x] = label[y, x] if inside else ignore
    if phase == "TRAIN":
        top = rng.integers(height - crop[0] + 1)
        left = rng.integers(width - crop[1] + 1)
    else:
        top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    data = np.zeros((3, *crop), np.float32)
    out, valid = np.zeros((2, 1, *crop), np.float32)
    for y in range(crop[0]):
        for x in range(crop[1]):
            column = crop[1] - 1 - x if flip else x
            for channel in range(3):
                value = pixels[top + y, left + x, channel] - np.float32(mean[channel])
                data[channel, y, column] = value * np.float32(scale)
            out[0, y, column] = ids[top + y, left + x]
            valid[0, y, column] = top + y < rows and left + x < columns
    return data, out, valid


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("factors", [(), (0.5, 0.75, 1.0, 1.25, 1.5)])
@pytest.mark.parametrize("shape", [(12, 31), (21, 13), (15, 15), (40, 33)])
def test_order_of_operations(phase, factors, shape):
    data_rng = np.random.default_rng(1)
    image = data_rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    label = data_rng.integers(0, 21, shape).astype(np.uint8)
    arguments = {"phase": phase, "mean": MEAN, "scale": 0.017, "mirror": True, "crop": (15, 17)}
    transform = SegTransform(**arguments, scale_factors=factors, ignore_label=254)
    for seed in range(6):
        data, ids, valid = transform(image, label, np.random.default_rng(seed))
        expected = literal(
            image, label, np.random.default_rng(seed), **arguments, factors=factors, ignore=254
        )
        assert np.array_equal(data, expected[0]) and data.dtype == np.float32
        assert np.array_equal(ids, expected[1]) and ids.dtype == np.float32
        assert np.array_equal(valid, expected[2]) and valid.dtype == np.float32


def test_padding_is_exactly_zero_after_the_mean():
    transform = SegTransform("TEST", mean=MEAN, crop=(9, 9), scale=0.3)
    data, label, valid = transform(np.full((4, 5, 3), 200, np.uint8), np.ones((4, 5), np.uint8), None)
    assert (data[:, 4:] == 0).all() and (data[:, :, 5:] == 0).all() and (data[:, :4, :5] > 0).all()
    assert valid.sum() == 20 and valid[0, :4, :5].all()
    assert (label[0, 4:] == 255).all() and (label[0, :, 5:] == 255).all() and (label[0, :4, :5] == 1).all()


def test_without_crop_the_size_stays():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    data, label, _ = SegTransform("TRAIN", mean=(1.0,))(image, np.zeros((2, 4), np.uint8), None)
    assert np.array_equal(data, image.transpose(2, 0, 1).astype(np.float32) - 1) and label.shape == (1, 2, 4)


def test_random_crops_reach_every_place_and_mirror_is_even():
    image = np.zeros((3, 4, 3), np.uint8)
    image[:, :, 0] = np.arange(12).reshape(3, 4)
    transform = SegTransform("TRAIN", crop=(2, 2), mirror=True)
    seen = set()
    for seed in range(200):
        data, *_ = transform(image, np.zeros((3, 4), np.uint8), np.random.default_rng(seed))
        seen.add((min(data[0, 0]), data[0, 0, 0] > data[0, 0, 1]))
    assert len(seen) == 2 * 3 * 2


def test_resizing_is_opencvs():
    """Recorded from cv2 5.0: INTER_LINEAR bit for bit, INTER_NEAREST."""
    recorded = np.load(Path(__file__).with_name("opencv_resize.npz"))
    names = [name for name in recorded.files if name != "image"]
    assert len(names) == 14
    for name in names:
        kind, size = name.split("_")
        height, width = map(int, size.split("x"))
        resize = resize_bilinear if kind == "linear" else resize_nearest
        assert np.array_equal(resize(recorded["image"], height, width), recorded[name]), name


@pytest.mark.parametrize("shape", [(37, 53), (37, 53, 1), (64, 48, 3), (1, 9, 3), (90, 1)])
def test_resizing_is_that_of_the_twin(shape):
    rng = np.random.default_rng(len(shape))
    image = rng.integers(0, 256, shape).astype(np.uint8)
    for height, width in [*rng.integers(1, 130, (12, 2)).tolist(), shape[:2], (74, 106)]:
        for resize in ("resize_bilinear", "resize_nearest"):
            found = getattr(resizing, resize)(image, height, width)
            wanted = getattr(twin, resize)(image, height, width)
            assert found.shape == wanted.shape and np.array_equal(found, wanted), (resize, height, width)


def test_resizing_keeps_its_input():
    image = np.zeros((3, 3), np.uint8)
    resize_bilinear(image, 3, 3)[0, 0] = 9
    assert image[0, 0] == 0


def test_padding_never_cuts():
    padded = pad_to(np.ones((3, 5), np.uint8), (4, 2), 7)
    assert padded.tolist() == [[1] * 5] * 3 + [[7] * 5]


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ('mean_file: "m.binaryproto"', "mean_file"),
        ("mean_value: 1 mean_value: 2", "number of mean values"),
        ("crop_size: 5 crop_height: 5 crop_width: 5", "twice or only in part"),
        ("crop_height: 5", "twice or only in part"),
        ("scale_factors: 1 scale_factors: 0", "scale factor"),
    ],
)
def test_parameters_that_do_not_fit(layer, transform, message):
    with pytest.raises(DataError, match=message) as caught:
        SegTransform.from_message(layer(transform=transform).transform_param, "TRAIN", where="layer 'x'")
    assert caught.value.where == "layer 'x'"


def test_parameters_are_read(layer):
    text = "mean_value: 3 crop_height: 4 crop_width: 6 mirror: true scale: 0.5 scale_factors: 0.75"
    transform = SegTransform.from_message(layer(transform=text).transform_param, "TRAIN", 11)
    assert transform == SegTransform("TRAIN", (3.0,), 0.5, True, (4, 6), (0.75,), 11)
    assert transform.means(3).tolist() == [3.0, 3.0, 3.0]
