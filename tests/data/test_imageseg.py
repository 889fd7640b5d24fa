from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from rlossctl.data.images import RotatedPhotos, read_image, read_label
from rlossctl.data.palette import save_label_png
from rlossctl.data.sources.imageseg import ImageSegSource
from rlossctl.errors import DataError

TRAIN = "batch_size: 3 shuffle: true label_type: PIXEL"
AUGMENT = (
    "mean_value: 104 mean_value: 117 mean_value: 123 "
    "crop_size: 13 mirror: true scale_factors: 0.5 scale_factors: 1.5"
)


def source(folder, message, phase="TRAIN", **options):
    return ImageSegSource(message, phase, source=folder / "list.txt", root=f"{folder}/", **options)


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.proves("ImageSegData")
def test_shapes_and_order_of_tops(folder, layer):
    data = source(folder, layer(TRAIN, AUGMENT))
    assert data.shapes() == {"data": (3, 3, 13, 13), "label": (3, 1, 13, 13), "data_dim": (3, 1, 1, 2)}
    batch = data.next_batch()
    assert [top.shape for top in batch] == list(data.shapes().values())
    assert all(top.dtype == np.float32 for top in batch)
    two = source(folder, layer(TRAIN, AUGMENT, tops=2))
    assert list(two.shapes()) == ["data", "label"] and same(two.next_batch(), batch[:2])


def test_test_phase_follows_the_list(folder, layer):
    message = layer("batch_size: 1 label_type: PIXEL", "crop_size: 20 mean_value: 10")
    data = source(folder, message, "TEST")
    for index in [*range(7), 0]:
        image, label, dim = data.next_batch()
        photo = read_image(folder / f"images/{index}.png")
        ids = read_label(folder / f"labels/{index}.png")
        rows, columns = min(20, ids.shape[0]), min(20, ids.shape[1])
        top, left = max(0, ids.shape[0] - 20) // 2, max(0, ids.shape[1] - 20) // 2
        assert dim.tolist() == [[[[rows, columns]]]]
        window = np.s_[top : top + rows, left : left + columns]
        assert np.array_equal(image[0, :, :rows, :columns], photo[window].transpose(2, 0, 1) - 10.0)
        assert np.array_equal(label[0, 0, :rows, :columns], ids[window])
        assert (label[0, 0, rows:] == 255).all() and (image[0, :, :, columns:] == 0).all()
        assert [sample.line for sample in data.last_batch] == [index + 1]


def test_the_stream_is_the_same_for_any_number_of_workers(folder, layer):
    sources = [source(folder, layer(TRAIN, AUGMENT), seed=4, workers=count) for count in (0, 1, 3)]
    for _ in range(9):
        first, *others = [data.next_batch() for data in sources]
        assert all(same(first, other) for other in others)
    for data in sources:
        data.close()
    assert not same(first, source(folder, layer(TRAIN, AUGMENT), seed=5).next_batch())


@pytest.mark.parametrize("workers", [0, 3])
def test_resume_in_the_middle_of_an_epoch(folder, layer, workers):
    whole = source(folder, layer(TRAIN, AUGMENT), seed=7, workers=workers)
    for _ in range(4):
        whole.next_batch()
    state = json.loads(json.dumps(whole.state()))
    assert state["position"] == 12
    expected = [whole.next_batch() for _ in range(5)]
    resumed = source(folder, layer(TRAIN, AUGMENT), seed=0, workers=workers)
    resumed.next_batch()
    resumed.restore(state)
    assert all(same(resumed.next_batch(), batch) for batch in expected)
    whole.close()
    resumed.close()


def test_every_epoch_shows_every_sample_once_in_a_new_order(folder, layer):
    data = source(folder, layer("batch_size: 7 shuffle: true label_type: PIXEL", "crop_size: 5"), seed=1)
    orders = []
    for _ in range(3):
        data.next_batch()
        orders.append([sample.line for sample in data.last_batch])
    assert all(sorted(order) == list(range(1, 8)) for order in orders)
    assert orders[0] != orders[1] != orders[2]


def test_rand_skip_happens_once(folder, layer):
    message = layer("batch_size: 1 rand_skip: 7 label_type: PIXEL", "crop_size: 5")
    starts = set()
    for seed in range(30):
        data = source(folder, message, seed=seed)
        lines = []
        for _ in range(8):
            data.next_batch()
            lines.append(data.last_batch[0].line)
        assert lines[0] == lines[7] and lines[:7] == [(lines[0] - 1 + step) % 7 + 1 for step in range(7)]
        starts.add(lines[0])
    assert len(starts) > 3
    with pytest.raises(DataError, match="rand_skip"):
        source(folder, layer("rand_skip: 100000 label_type: PIXEL", "crop_size: 5"), seed=1).next_batch()


def test_label_types(folder, layer):
    (folder / "list.txt").write_text("images/2.png 6\nimages/6.png 0\n")
    _, label, _ = source(folder, layer("batch_size: 2", "crop_size: 16")).next_batch()
    assert (label[0] == 6).all() and (label[1] == 0).all()
    (folder / "list.txt").write_text("images/2.png\nimages/6.png\n")
    data = source(folder, layer("batch_size: 2 label_type: NONE ignore_label: 11", "crop_size: 16"))
    assert (data.next_batch()[1] == 11).all()
    only = source(folder, layer("batch_size: 2 label_type: PIXEL", "crop_size: 16", tops=1))
    assert len(only.next_batch()) == 1


def test_a_file_name_where_an_integer_belongs(folder, layer):
    with pytest.raises(DataError, match="label_type: PIXEL") as caught:
        source(folder, layer("batch_size: 1", "crop_size: 16")).next_batch()
    assert caught.value.where.endswith("list.txt:1")


def test_without_crop_the_first_image_gives_the_size(folder, layer):
    data = source(folder, layer("batch_size: 1 label_type: PIXEL"), "TEST")
    assert data.shapes()["data"] == (1, 3, 11, 17)
    assert data.next_batch()[0].shape == (1, 3, 11, 17)
    assert data.next_batch()[2].tolist() == [[[[23, 9]]]]
    pair = source(folder, layer("batch_size: 2 label_type: PIXEL"), "TEST")
    with pytest.raises(DataError, match=r"images/1\.png.*\n.*23x9.*\n.*11x17.*images/0\.png"):
        pair.next_batch()


def test_new_size_resizes_the_label_bilinearly_as_the_fork_does(folder, layer):
    ids = np.zeros((16, 16), np.uint8)
    ids[:, 8:] = 4
    save_label_png(folder / "labels/2.png", ids)
    (folder / "list.txt").write_text("images/2.png labels/2.png\n")
    data = source(folder, layer("batch_size: 1 label_type: PIXEL new_height: 32 new_width: 32"), "TEST")
    assert data.shapes()["data"] == (1, 3, 32, 32)
    assert np.unique(data.next_batch()[1]).tolist() == [0, 1, 3, 4]


def test_grey_images(folder, layer):
    data = source(
        folder, layer("is_color: false batch_size: 2 label_type: PIXEL", "crop_size: 16 mean_value: 9")
    )
    assert data.shapes()["data"] == (2, 1, 16, 16) and data.next_batch()[0].shape == (2, 1, 16, 16)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_missing_image_is_named_with_its_line_and_nothing_is_skipped(folder, layer, workers):
    (folder / "images/4.png").unlink()
    data = source(folder, layer("batch_size: 2 label_type: PIXEL", "crop_size: 5"), workers=workers)
    data.next_batch()
    data.next_batch()
    for _ in range(2):
        with pytest.raises(DataError, match=r"images/4\.png .*list\.txt:5"):
            data.next_batch()
    assert data.state()["position"] == 4
    Image.fromarray(np.zeros((8, 25, 3), np.uint8)).save(folder / "images/4.png")
    data.next_batch()
    assert [sample.line for sample in data.last_batch] == [5, 6]
    data.close()


def test_image_and_label_of_different_size(folder, layer):
    save_label_png(folder / "labels/0.png", np.zeros((17, 11), np.uint8))
    with pytest.raises(DataError, match=r"labels/0\.png .*list\.txt:1") as caught:
        source(folder, layer("batch_size: 1 label_type: PIXEL", "crop_size: 5")).next_batch()
    assert "17x11" in caught.value.found and "11x17" in caught.value.expected


def test_nothing_is_read_before_it_is_needed(layer):
    message = layer('source: "nowhere.txt" batch_size: 2 label_type: PIXEL', "crop_size: 5")
    data = ImageSegSource(message, "TRAIN")
    assert data.shapes()["label"] == (2, 1, 5, 5)
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        data.next_batch()
    with pytest.raises(DataError, match="no list is named"):
        ImageSegSource(layer(TRAIN, AUGMENT), "TRAIN").next_batch()


def test_voc_ids(folder, layer):
    (folder / "images").rename(folder / "JPEGImages")
    (folder / "list.txt").write_text("0\n1\n")
    data = source(folder, layer(TRAIN, AUGMENT), label_dir="labels")
    assert data.next_batch()[0].shape == (3, 3, 13, 13)


def test_restoring_onto_another_list(folder, layer):
    state = source(folder, layer(TRAIN, AUGMENT)).state()
    (folder / "list.txt").write_text("images/0.png labels/0.png\n")
    with pytest.raises(DataError, match="another list"):
        source(folder, layer(TRAIN, AUGMENT)).restore(state)


@pytest.mark.parametrize(
    ("data", "transform", "tops", "message"),
    [
        ('mean_file: "m"', "", 3, "mean_file"),
        ("", 'mean_file: "m"', 3, "mean_file"),
        ("new_height: 5", "", 3, "only one side of the size"),
        ("batch_size: 0", "", 3, "batch"),
        ("", "", 5, "tops"),
        ("ignore_label: 300", "", 3, "ignore label"),
        ("is_color: false", "mean_value: 1 mean_value: 2 mean_value: 3", 3, "one mean value per channel"),
    ],
)
def test_parameters_that_are_refused(layer, data, transform, tops, message):
    with pytest.raises(DataError, match=message) as caught:
        ImageSegSource(layer(data, transform, tops), "TRAIN", where="net.prototxt:3")
    assert caught.value.where == "net.prototxt:3"


def test_real_voc_scribbles(shared, layer):
    root = shared / "data/voc2012"
    text = "batch_size: 2 shuffle: true label_type: PIXEL"
    data = ImageSegSource(
        layer(text, "crop_size: 321 mirror: true", tops=2),
        "TRAIN",
        source=root / "ImageSets/Segmentation/train_scribble.txt",
        root=root,
        label_dir="pascal_2012_scribble",
    )
    _, label = data.next_batch()
    assert label.shape == (2, 1, 321, 321) and set(np.unique(label)) <= {*range(21), 255}


def test_photos_are_turned_where_the_layer_says_so_and_named_where_it_does_not(folder, layer):
    photo = folder / "images/0.png"
    with Image.open(photo) as image:
        upright = np.asarray(image.convert("RGB"))
        exif = Image.Exif()
        exif[0x0112] = 3
        image.transpose(Image.Transpose.ROTATE_180).save(photo, exif=exif)
    turning = source(folder, layer("batch_size: 7 label_type: PIXEL upright: true", "crop_size: 40"), "TEST")
    data = turning.next_batch()[0]
    rows, columns = upright.shape[:2]
    assert np.array_equal(data[0, :, :rows, :columns], upright[:, :, ::-1].transpose(2, 0, 1))
    lying = source(folder, layer("batch_size: 7 label_type: PIXEL", "crop_size: 40"), "TEST")
    with pytest.warns(RotatedPhotos, match=r"images/0\.png .* set the layer's field upright: true"):
        data = lying.next_batch()[0]
    assert np.array_equal(data[0, :, :rows, :columns], upright[::-1, ::-1, ::-1].transpose(2, 0, 1))
    lying.next_batch()  # warnings are errors here: it is said once


def test_the_first_photo_s_size_is_that_of_the_upright_one(folder, layer):
    photo = folder / "images/0.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photo) as image:
        width, height = image.size
        image.transpose(Image.Transpose.ROTATE_90).save(photo, exif=exif)
    turning = source(folder, layer("batch_size: 1 label_type: PIXEL upright: true"), "TEST")
    assert turning.shapes()["data"] == (1, 3, height, width) == turning.next_batch()[0].shape
    with pytest.raises(DataError, match="differ in size") as caught:
        source(folder, layer("batch_size: 1 label_type: PIXEL"), "TEST").next_batch()
    assert "set upright: true" in caught.value.advice
