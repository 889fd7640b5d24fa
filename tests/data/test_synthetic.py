from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rlossctl.data.images import read_image, read_label
from rlossctl.data.lists import find_label_dir, read_list
from rlossctl.data.scenes.dataset import SYNTHETIC_CLASSES, generate_dataset
from rlossctl.data.scenes.scene import CLASSES, draw_scene
from rlossctl.data.sources.imageseg import ImageSegSource
from rlossctl.errors import DataError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return generate_dataset(tmp_path_factory.mktemp("data"), train=6, val=3, size=(65, 81), seed=2)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_layout_and_lists(dataset):
    assert len(contents(dataset)) == 9 * 3 + 2 + 3
    for name, count in (("train", 6), ("train_full", 6), ("val", 3)):
        for sample in read_list(dataset / f"list/{name}.txt", dataset):
            folder = "pascal_2012_scribble" if name == "train" else "SegmentationClassAug"
            assert f"/{folder}/" in sample.label
            assert read_image(sample.image).shape == (65, 81, 3) and read_label(sample.label).shape == (
                65,
                81,
            )
        assert len(read_list(dataset / f"list/{name}.txt", dataset)) == count
    ids = dataset / "ImageSets/Segmentation/val.txt"
    assert find_label_dir(ids, dataset) == "SegmentationClassAug"
    assert len(read_list(ids, dataset, label_dir="SegmentationClassAug")) == 3


def test_formats_and_scribbles(dataset):
    classes = set()
    for path in sorted((dataset / "SegmentationClassAug").iterdir()):
        scribble_path = dataset / "pascal_2012_scribble" / path.name
        with Image.open(path) as image, Image.open(scribble_path) as scribble:
            assert (image.mode, scribble.mode) == ("P", "L")
        mask, drawn = read_label(path), read_label(scribble_path)
        labelled = drawn != 255
        assert (mask[labelled] == drawn[labelled]).all() and 0.02 < labelled.mean() < 0.045
        assert mask.max() < len(SYNTHETIC_CLASSES)
        classes |= set(np.unique(mask).tolist())
    assert classes == set(range(len(SYNTHETIC_CLASSES)))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_whatever_the_number(dataset, tmp_path):
    fewer = contents(generate_dataset(tmp_path / "same", train=2, val=1, size=(65, 81), seed=2))
    whole = contents(dataset)
    pictures = [name for name in fewer if not name.endswith(".txt")]
    assert len(pictures) == 9 and all(fewer[name] == whole[name] for name in pictures)
    other = contents(generate_dataset(tmp_path / "other", train=2, val=1, size=(65, 81), seed=3))
    assert all(other[name] != whole[name] for name in pictures)


@pytest.mark.slow
def test_outlines_are_colour_edges():
    """Colour changes more across an outline than elsewhere, which is what a DenseCRF lives on."""
    across, elsewhere = [], []
    for seed in range(8):
        photo, mask = draw_scene(np.random.default_rng(seed), (65, 65))
        step = np.abs(np.diff(photo.astype(float), axis=1)).sum(axis=2)
        step = step[:, :-1] + step[:, 1:]  # an outline mixes within a pixel
        outline = (mask[:, 2:] != mask[:, :-2]) & (mask[:, 2:] > 0)
        across.append(step[outline].mean())
        elsewhere.append(step[~outline].mean())
    assert np.mean(across) > 2 * np.mean(elsewhere)


@pytest.mark.slow
def test_a_scene_of_any_size():
    for size in ((33, 47), (120, 160)):
        photo, mask = draw_scene(np.random.default_rng(1), size)
        assert photo.shape == (*size, 3) and mask.shape == size and photo.dtype == mask.dtype == np.uint8
        assert 0.3 < (mask == 0).mean() < 1 and photo.std() > 15
    assert CLASSES[0] == "background"


def test_it_feeds_a_data_layer(dataset, layer):
    message = layer("batch_size: 2 shuffle: true label_type: PIXEL", "crop_size: 65 mirror: true", tops=2)
    data, label = ImageSegSource(
        message, "TRAIN", source=dataset / "list/train.txt", root=dataset
    ).next_batch()
    assert data.shape == (2, 3, 65, 65) and (label != 255).any()


def test_impossible_sizes(tmp_path):
    with pytest.raises(DataError, match="32x32"):
        generate_dataset(tmp_path, train=1, val=1, size=(8, 8))
    with pytest.raises(DataError):
        generate_dataset(tmp_path, train=0, val=1)
