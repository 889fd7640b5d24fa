"""The fields of transform_param that Caffe has not, against a float64 numpy twin (warping.py)."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rlossctl.data.augmenting.fields import augments, read_transform
from rlossctl.data.augmenting.transform import AugmentingTransform
from rlossctl.data.resize import resize_smoothly
from rlossctl.data.seg_transform import SegTransform
from rlossctl.data.sources.imageseg import ImageSegSource
from rlossctl.errors import DataError

from . import warping

CROP = (23, 31)
SIZE = "crop_height: 23 crop_width: 31 mean_value: 104 mean_value: 117 mean_value: 123"
PHOTO = (41, 53)
GEOMETRY = {
    "crop alone": "antialias: true",
    "flip": "mirror: true antialias: true",
    "range": "scale_min: 0.6 scale_max: 1.7",
    "window": "scale_min: 0.6 scale_max: 1.7 scale_law: WINDOW",
    "one factor": "scale_min: 1.37 scale_max: 1.37",
    "factors": "scale_factors: 0.53 scale_factors: 1.47 fill_value: 7",
    "short side": "base_size: 30",
    "long side": "base_size: 36 base_side: LONG scale_min: 0.8 scale_max: 1.2",
    "rotation": "rotate: 40",
    "perspective": "perspective: 0.45",
    "aliased": "scale_min: 0.5 scale_max: 0.6 antialias: false",
    "padding": "scale_min: 0.5 scale_max: 0.55 fill_value: 1 fill_value: 2 fill_value: 3",
}
COLOURS = {
    "brightness": "brightness: 0.4",
    "contrast": "contrast: 0.4",
    "saturation": "saturation: 0.4",
    "hue": "hue: 0.3",
    "blur": "blur_sigma: 2 blur_probability: 0.6",
}
ALL = (
    "mirror: true scale_min: 0.6 scale_max: 1.7 base_size: 36 rotate: 20 perspective: 0.3 scale: 0.5 "
    "std_value: 2 std_value: 3 std_value: 4 " + " ".join(COLOURS.values())
)


@pytest.fixture
def transform(layer):
    def make(text: str, phase: str = "TRAIN") -> AugmentingTransform:
        param = layer(transform=text).transform_param
        assert augments(param)
        return read_transform(param, SegTransform.from_message(param, phase, 254), "net.prototxt:3")

    return make


@pytest.fixture(scope="module")
def picture():
    rng = np.random.default_rng(2)
    return rng.integers(0, 256, (*PHOTO, 3)).astype(np.uint8), rng.integers(0, 21, PHOTO).astype(np.uint8)


def coloured(param, pixels, photo, rng):
    """The documented order in float64."""
    grey = float((photo @ np.array(warping.LUMA)).mean())
    if param.brightness:
        factor = rng.uniform(1 - param.brightness, 1 + param.brightness)
        pixels, grey = (pixels * factor).clip(0, 255), min(grey * factor, 255)
    if param.contrast:
        factor = rng.uniform(1 - param.contrast, 1 + param.contrast)
        pixels = (grey + factor * (pixels - grey)).clip(0, 255)
    if param.saturation:
        factor = rng.uniform(1 - param.saturation, 1 + param.saturation)
        own = (pixels @ np.array(warping.LUMA))[:, :, None]
        pixels = (own + factor * (pixels - own)).clip(0, 255)
    if param.hue:
        pixels = warping.turned_hue(pixels, rng.uniform(-param.hue, param.hue))
    if param.blur_sigma and rng.random() < param.blur_probability:
        pixels = warping.blurred(pixels, rng.uniform(0, param.blur_sigma))
    return pixels


def expected(param, photo, label, rng):
    """data, label, valid, how far data may be off (OpenCV rounds to bytes and to 1/32 of a pixel), and where
    one pixel is the nearest.
    """
    flip = param.mirror and rng.integers(2) == 1
    low, high = param.scale_min, param.scale_max
    factor = low
    if param.scale_factors:
        factor = param.scale_factors[rng.integers(len(param.scale_factors))]
    elif low < high:
        factor = 1 / rng.uniform(1 / high, 1 / low) if param.scale_law else rng.uniform(low, high)
    if param.base_size:
        factor *= param.base_size / (max(PHOTO) if param.base_side else min(PHOTO))
    corners = warping.corners_of(CROP, PHOTO, factor, rng, rotate=param.rotate, perspective=param.perspective)
    x, y = warping.places(warping.homography(corners, CROP, flip), CROP)
    shrink = np.sqrt(warping.area(corners) / np.prod(CROP))
    smooth = param.antialias and shrink > 1
    source = warping.smoothed(photo, (shrink**2 - 1) / 6) if smooth else photo
    pixels = warping.bilinear(source, x, y)
    ids, valid = warping.nearest(label, x, y, 254)
    off = np.maximum(*(abs(warping.bilinear(source, x + dx, y + dy) - pixels) for dx, dy in ((1, 0), (0, 1))))
    off = off.max() / 16 + 1.5
    pixels = coloured(param, pixels, photo, rng)
    std = list(param.std_value) or [1] * 3
    fill = list(param.fill_value) or list(param.mean_value)
    pixels = np.where(valid[:, :, None], pixels, fill * (3 // len(fill)))
    data = (pixels - list(param.mean_value)) * param.scale / std
    clear = (abs(x % 1 - 0.5) > 1e-6) & (abs(y % 1 - 0.5) > 1e-6)  # no two pixels are equally near
    return data.transpose(2, 0, 1), ids, valid, off * param.scale / min(std), clear


@pytest.mark.parametrize("text", [*GEOMETRY.values(), ALL], ids=[*GEOMETRY, "all"])
def test_every_field_is_that_of_the_twin(layer, transform, picture, text):
    param = layer(transform=f"{SIZE} {text}").transform_param
    made = transform(f"{SIZE} {text}")
    padded = 0
    for seed in range(8):
        found = made(*picture, np.random.default_rng(seed))
        data, ids, valid, off, clear = expected(param, *picture, np.random.default_rng(seed))
        assert clear.mean() > 0.9
        assert np.array_equal(found.label[0][clear], ids[clear])
        assert np.array_equal(found.valid[0][clear], valid[clear])
        difference = abs(found.data - data)[:, clear]
        assert difference.max() < off and difference.mean() < off / 4
        padded += (~valid).sum()
    assert padded or "fill_value" not in text


@pytest.mark.parametrize("text", COLOURS.values(), ids=COLOURS)
def test_colours_are_those_of_the_twin(layer, transform, picture, text):
    """Without a crop nothing moves, and no byte is rounded."""
    photo, label = picture
    param = layer(transform=text).transform_param
    changed = 0
    for seed in range(6):
        found = transform(text)(photo, label, np.random.default_rng(seed)).data.transpose(1, 2, 0)
        wanted = coloured(param, photo.astype(float), photo, np.random.default_rng(seed))
        np.testing.assert_allclose(found, wanted, atol=0.02)
        changed += abs(wanted - photo).max() > 5
    assert changed >= 3


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_the_photo_alone_is_copied(transform, picture, phase):
    photo, label = picture
    found = transform("antialias: true mean_value: 10", phase)(photo, label, np.random.default_rng(0))
    assert np.array_equal(found.data, photo.transpose(2, 0, 1) - np.float32(10))
    assert np.array_equal(found.label[0], label) and found.valid.all()


def test_a_test_draws_nothing_and_takes_the_centre(transform, picture):
    photo, label = picture
    text = ALL.replace("mirror: true", "").replace("base_size: 36", "base_size: 41")
    found = transform(f"crop_height: 20 crop_width: 61 {text}", "TEST")(photo, label, None)
    assert np.array_equal(found.label[0, :, 4:57], label[10:30]) and (found.label[0, :, 57:] == 254).all()
    assert np.array_equal(
        found.valid[0], np.broadcast_to((np.arange(61) > 3) & (np.arange(61) < 57), (20, 61))
    )


@pytest.mark.parametrize("side", [70, 54, 31, 9])
def test_shrinking_smooths_as_pillow_does(transform, side):
    """On noise, where interpolation alone is 15 to 40 levels off in the mean."""
    rng = np.random.default_rng(0)
    photo, label = rng.integers(0, 256, (100, 140, 3)).astype(np.uint8), np.zeros((100, 140), np.uint8)
    size = side, round(140 * side / 100)
    wanted = resize_smoothly(photo, *size).transpose(2, 0, 1).astype(float)
    smooth, aliased = (
        abs(transform(f"base_size: {side} antialias: {way}", "TEST")(photo, label, rng).data - wanted).mean()
        for way in ("true", "false")
    )
    assert smooth < 0.5 * aliased


def test_a_fourth_top_and_deviations_of_1_change_no_bit(folder, layer):
    data = "batch_size: 5 shuffle: true label_type: PIXEL"
    caffe = "crop_size: 13 mirror: true scale_factors: 0.5 scale_factors: 1.5 mean_value: 9 scale: 0.3"
    plain, more = (
        ImageSegSource(layer(data, text, tops), "TRAIN", source=folder / "list.txt", root=f"{folder}/")
        for text, tops in ((caffe, 3), (f"{caffe} std_value: 1", 4))
    )
    for _ in range(3):
        wanted, found = plain.next_batch(), more.next_batch()
        assert all(np.array_equal(one, two) for one, two in zip(wanted, found, strict=False))
        assert np.array_equal(found[3] == 0, found[1] == 255)  # the labels have no 255


def test_a_resumed_stream_is_the_same_with_every_field(folder, layer):
    def start(workers: int = 0, seed: int = 3) -> ImageSegSource:
        message = layer("batch_size: 3 shuffle: true label_type: PIXEL", f"{SIZE} {ALL}", 4)
        options = {"source": folder / "list.txt", "root": f"{folder}/", "seed": seed, "workers": workers}
        return ImageSegSource(message, "TRAIN", **options)

    first, threaded, resumed = start(), start(2), start(seed=0)
    batches = [first.next_batch() for _ in range(5)]
    for batch in batches[:3]:
        assert all(map(np.array_equal, batch, threaded.next_batch()))
    resumed.restore(threaded.state())
    threaded.close()
    for batch in batches[3:]:
        assert all(map(np.array_equal, batch, resumed.next_batch()))


def test_sizes_without_a_crop_follow_the_base(folder, layer):
    message = layer("batch_size: 1 label_type: PIXEL", "base_size: 22")
    data = ImageSegSource(message, "TEST", source=folder / "list.txt", root=f"{folder}/")
    assert data.shapes()["data"] == (1, 3, 22, 34) == data.next_batch()[0].shape


def test_grey_photos(folder, layer):
    text = "crop_size: 12 rotate: 9 scale_min: 0.5 scale_max: 1 contrast: 0.2 blur_sigma: 1 mean_value: 9"
    message = layer("is_color: false batch_size: 3 label_type: PIXEL", text)
    data = ImageSegSource(message, "TRAIN", source=folder / "list.txt", root=f"{folder}/")
    assert data.next_batch()[0].shape == (3, 1, 12, 12)


def test_photos_too_long_for_opencv(folder, layer):
    Image.fromarray(np.zeros((1, 32767, 3), np.uint8)).save(folder / "images/0.png")
    message = layer("batch_size: 1 label_type: NONE", "crop_size: 12 rotate: 9")
    data = ImageSegSource(message, "TRAIN", source=folder / "list.txt", root=f"{folder}/")
    with pytest.raises(DataError, match=r"images/0\.png .*too large to be warped"):
        data.next_batch()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scale_min: 2", "scale_min 2, scale_max 1"),
        ("scale_min: 0 scale_max: 1", "scale_min: 0"),
        ("scale_max: 100", "above 0 and below 100"),
        ("scale_max: nan", "scale_max: nan"),
        ("scale_min: 0.5 scale_factors: 1", "scale_factors beside"),
        ("scale_law: WINDOW", "scale_min and scale_max"),
        ("base_side: LONG", "base_size"),
        ("rotate: -1", "0 to 180 degrees"),
        ("rotate: 181", "0 to 180 degrees"),
        ("perspective: 0.5", "would fold the crop"),
        ("perspective: -0.1", "would fold the crop"),
        ("blur_probability: 0.5", "blur_probability without blur_sigma"),
        ("blur_sigma: 1 blur_probability: 2", "0 to 1"),
        ("hue: 0.6", "0 to 0.5"),
        ("brightness: -0.1", "brightness: -0.1"),
        ("fill_value: 256", "fill_value: 256"),
        ("fill_value: 1 fill_value: 1", "one or three values"),
        ("std_value: 0", "std_value: 0"),
        ("std_value: 1 std_value: 2", "std_value: 1, std_value: 2"),
    ],
)
def test_impossible_values(layer, text, message):
    with pytest.raises(DataError, match=message) as caught:
        ImageSegSource(layer(transform=f"crop_size: 9 {text}"), "TRAIN", where="net.prototxt:3")
    assert caught.value.where == "net.prototxt:3"


@pytest.mark.parametrize(
    ("data", "text", "message"),
    [
        ("", "scale_min: 0.5", "random scales without a crop"),
        ("is_color: false", "crop_size: 9 hue: 0.1", "grey photos have no hue"),
    ],
)
def test_fields_that_do_not_fit_the_layer(layer, data, text, message):
    with pytest.raises(DataError, match=message):
        ImageSegSource(layer(data, text), "TRAIN")
