"""type: "ImageLabelmapData" of HED's fork, RCF's and DSS: photos with maps of edges or objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

from rlossctl.data.images import read_image
from rlossctl.data.resize import resize_bilinear
from rlossctl.data.sources.labelmap import LabelmapSource
from rlossctl.errors import DataError
from rlossctl.prototxt.messages import LayerParameter

LEVELS = np.arange(256, dtype=np.uint8).reshape(8, 32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A photo of random pixels, and a map with every grey level."""
    photo = np.random.default_rng(0).integers(0, 256, (8, 32, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(LEVELS).save(tmp_path / "map.png")
    (tmp_path / "list.lst").write_text("photo.png map.png\n")
    return tmp_path


def source(folder: Path, image: str = "", transform: str = "", phase: str = "TRAIN") -> LabelmapSource:
    layer = LayerParameter(name="data", type="ImageLabelmapData", top=["data", "label"])
    text_format.Parse(f'source: "{folder}/list.lst" {image}', layer.image_data_param)
    text_format.Parse(transform, layer.transform_param)
    return LabelmapSource(layer, phase, root=f"{folder}/")


@pytest.mark.proves("ImageLabelmapData")
def test_a_map_is_rounded_to_0_and_1(folder: Path) -> None:
    transform = "mean_value: 10 mean_value: 20 mean_value: 30 scale: 0.5"
    data, label = source(folder, transform=transform).next_batch()
    blue_first = read_image(folder / "photo.png").transpose(2, 0, 1)
    np.testing.assert_array_equal(data[0], (blue_first - np.float32([[[10]], [[20]], [[30]]])) / 2)
    # HED divides a byte image by 255, which OpenCV rounds to the nearest integer.
    np.testing.assert_array_equal(label[0, 0], np.rint(LEVELS / 255))
    assert label.sum() == 128


def test_what_rcf_and_dss_read(folder: Path) -> None:
    weak = source(folder, "weak_edges: true").next_batch()[1][0, 0]
    np.testing.assert_array_equal(weak, np.where(LEVELS / 255 > 0.5, 1, LEVELS / np.float32(255)))
    assert (weak == 1).sum() == 128 and (weak == 0).sum() == 1
    np.testing.assert_array_equal(source(folder, "normalize: false").next_batch()[1][0, 0], LEVELS)
    assert source(folder, "normalize: true").next_batch()[1].sum() == 128
    with pytest.raises(DataError, match="cannot be fractions and levels"):
        source(folder, "normalize: false weak_edges: true")


def test_a_new_size_is_bilinear_for_both(folder: Path) -> None:
    data, label = source(folder, "new_height: 5 new_width: 48").next_batch()
    photo = resize_bilinear(read_image(folder / "photo.png"), 5, 48)
    np.testing.assert_array_equal(data[0], photo.transpose(2, 0, 1))
    np.testing.assert_array_equal(label[0, 0], resize_bilinear(LEVELS, 5, 48) >= 128)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_crops_and_flips_are_drawn_in_both_phases_for_photo_and_map(folder: Path, phase: str) -> None:
    Image.fromarray(np.repeat(LEVELS[:, :, None], 3, 2)).save(folder / "photo.png")
    drawn = source(folder, "normalize: false", "crop_size: 4 mirror: true", phase)
    assert drawn.shapes() == {"data": (1, 3, 4, 4), "label": (1, 1, 4, 4)}
    seen = set()
    for _ in range(40):
        data, label = drawn.next_batch()
        np.testing.assert_array_equal(data[0, 0], label[0, 0])
        steps = np.diff(label[0, 0, 0])
        assert (steps == 1).all() or (steps == -1).all()
        seen.add((int(label.min()), bool(steps[0] > 0)))
    assert len(seen) > 20 and {flipped for _, flipped in seen} == {True, False}


@pytest.mark.parametrize("size", ["", "new_height: 4 new_width: 4"])
def test_sizes_must_agree(folder: Path, size: str) -> None:
    Image.fromarray(LEVELS[:, 1:]).save(folder / "map.png")
    with pytest.raises(DataError, match="differ in size") as caught:
        source(folder, size).next_batch()
    assert caught.value.found == "label 8x31 (height x width)" and "list.lst:1" in str(caught.value.where)
    assert ("new_height" in str(caught.value.advice)) == (not size)
