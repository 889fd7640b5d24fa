from __future__ import annotations

import json

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

from rlossctl.data.images import RotatedPhotos, read_image, read_label
from rlossctl.data.palette import save_label_png
from rlossctl.data.resize import resize_bilinear
from rlossctl.data.sources.imagelist import DenseImageSource, ImageSource
from rlossctl.errors import DataError
from rlossctl.prototxt import load_net_parameter
from rlossctl.prototxt.messages import LayerParameter
from rlossctl.weights.mean import write_mean

AUGMENT = "mirror: true crop_size: 7 mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.5"


def image_layer(data="", transform="", tops=2):
    return parse(f'name: "in" type: "ImageData" image_data_param {{ {data} }}', transform, tops)


def dense_layer(data="", transform="", tops=2):
    return parse(f'name: "in" type: "DenseImageData" dense_image_data_param {{ {data} }}', transform, tops)


def parse(text, transform, tops):
    text += f" transform_param {{ {transform} }}" + "".join(f' top: "top{index}"' for index in range(tops))
    return text_format.Parse(text, LayerParameter())


@pytest.fixture
def classes(folder):
    """classes.txt: the folder's photos, with -1, 0, ... as class; one name with spaces."""
    (folder / "images/3.png").rename(folder / "images/a photo.png")
    names = [f"images/{index}.png" if index != 3 else "images/a photo.png" for index in range(7)]
    (folder / "classes.txt").write_text("".join(f"{name} {at - 1}\r\n" for at, name in enumerate(names)))
    return folder


def images(folder, message, phase="TRAIN", **options):
    return ImageSource(message, phase, source=folder / "classes.txt", root=f"{folder}/", **options)


def dense(folder, message, phase="TRAIN", **options):
    return DenseImageSource(message, phase, source=folder / "list.txt", root=f"{folder}/", **options)


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_images_in_the_order_of_the_list(classes):
    data = images(classes, image_layer("batch_size: 1"), "TEST")
    assert data.shapes() == {"top0": (1, 3, 11, 17), "top1": (1,)}
    for index in [*range(7), 0]:
        name = "a photo" if index == 3 else str(index)
        image, label = data.next_batch()
        assert np.array_equal(image[0], read_image(classes / f"images/{name}.png").transpose(2, 0, 1))
        assert label.shape == (1,) and label.dtype == np.float32 and label[0] == index - 1


def test_size_mean_scale_and_the_centre(classes):
    transform = "crop_size: 8 mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.25"
    layer = image_layer("batch_size: 2 new_height: 11 new_width: 13", transform)
    data = images(classes, layer, "TEST")
    assert data.shapes()["top0"] == (2, 3, 8, 8)
    image, _ = data.next_batch()
    whole = resize_bilinear(read_image(classes / "images/1.png"), 11, 13)[1:9, 2:10].astype(np.float32)
    assert np.array_equal(image[1], ((whole - [1, 2, 3]) * 0.25).transpose(2, 0, 1).astype(np.float32))


def test_mean_file_is_cut_like_the_image(classes):
    mean = np.random.default_rng(0).uniform(0, 255, (3, 12, 12)).astype(np.float32)
    write_mean(classes / "mean.binaryproto", mean)
    transform = f'mean_file: "{classes}/mean.binaryproto" scale: 2 mirror: true crop_size: 7'
    layer = image_layer("batch_size: 1 new_height: 12 new_width: 12", transform)
    data = images(classes, layer)
    photo = resize_bilinear(read_image(classes / "images/0.png"), 12, 12).transpose(2, 0, 1)
    whole = (photo.astype(np.float32) - mean) * np.float32(2)
    batch = data.next_batch()[0][0]
    parts = [whole[:, top : top + 7, left : left + 7] for top in range(6) for left in range(6)]
    assert any(np.array_equal(batch, side) for part in parts for side in (part, part[..., ::-1]))
    wrong = images(classes, image_layer("batch_size: 1", transform))
    with pytest.raises(DataError, match="mean file does not fit"):
        wrong.next_batch()


def test_grey_and_one_mean(classes):
    data = images(classes, image_layer("batch_size: 1 is_color: false", "mean_value: 9"), "TEST")
    image, _ = data.next_batch()
    assert np.array_equal(image[0, 0], read_image(classes / "images/0.png", color=False)[:, :, 0] - 9.0)


@pytest.mark.parametrize("make", [images, dense])
def test_the_same_stream_for_any_number_of_workers_and_after_a_resume(classes, make):
    param = "batch_size: 3 shuffle: true rand_skip: 4 new_height: 9 new_width: 9"
    layer = (image_layer if make is images else dense_layer)(param, AUGMENT)
    if make is dense:
        (classes / "images/a photo.png").rename(classes / "images/3.png")
    sources = [make(classes, layer, seed=4, workers=count) for count in (0, 1, 3)]
    for _ in range(7):
        first, *others = [data.next_batch() for data in sources]
        assert all(same(first, other) for other in others)
    state = json.loads(json.dumps(sources[0].state()))
    expected = [sources[2].next_batch() for _ in range(4)]
    resumed = make(classes, layer, workers=2)
    resumed.next_batch()
    resumed.restore(state)
    assert all(same(resumed.next_batch(), batch) for batch in expected)
    assert not same(make(classes, layer, seed=5).next_batch(), make(classes, layer, seed=4).next_batch())
    for data in (*sources, resumed):
        data.close()


def test_every_epoch_shows_every_image_once(classes):
    data = images(classes, image_layer("batch_size: 7 shuffle: true", "crop_size: 5"), seed=1)
    epochs = [data.next_batch()[1].tolist() for _ in range(3)]
    assert all(sorted(epoch) == list(range(-1, 6)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_forks_split_a_line_into_two_words(classes):
    forks = images(classes, image_layer("batch_size: 1"), spaces_in_names=False)
    with pytest.raises(DataError, match=r"no other space") as caught:
        forks.next_batch()
    assert caught.value.where.endswith("classes.txt:4")
    (classes / "classes.txt").write_text("images/1.png\t  7  \n\n")
    assert images(classes, image_layer(), spaces_in_names=False).next_batch()[1].tolist() == [7]
    (classes / "classes.txt").write_text("images/1.png\t7\n")
    with pytest.raises(DataError, match="an image, a space and an integer"):
        images(classes, image_layer()).next_batch()


@pytest.mark.parametrize("text", ["images/1.png", "images/1.png dog", "images/1.png 1.5", "3"])
def test_a_line_without_a_class(classes, text):
    (classes / "classes.txt").write_text(f"images/0.png 1\n{text}\n")
    with pytest.raises(DataError) as caught:
        images(classes, image_layer()).next_batch()
    assert caught.value.where.endswith("classes.txt:2") and caught.value.found == text


def test_sizes_within_a_batch(classes):
    with pytest.raises(DataError, match=r"images/1\.png .*classes\.txt:2.*\n.*3x23x9\n.*3x11x17"):
        images(classes, image_layer("batch_size: 2"), "TEST").next_batch()
    with pytest.raises(DataError, match="smaller than the crop"):
        images(classes, image_layer("batch_size: 1", "crop_size: 12"), "TEST").next_batch()


@pytest.mark.parametrize("make", [image_layer, dense_layer])
@pytest.mark.parametrize(
    ("data", "transform", "tops", "message"),
    [
        ("batch_size: 1 new_height: 5", "", 2, "only one side of the size"),
        ("batch_size: 0", "", 2, "batch is empty"),
        ("batch_size: 1", "", 1, "tops"),
        ("batch_size: 1", 'mean_file: "m" mean_value: 1', 2, "mean is given twice"),
        ("batch_size: 1", "force_color: true force_gray: true", 2, "colour"),
        ("batch_size: 1", "mean_value: 1 mean_value: 2", 2, "one mean value per channel"),
    ],
)
def test_parameters_that_are_refused(make, data, transform, tops, message):
    kind = ImageSource if make is image_layer else DenseImageSource
    with pytest.raises(DataError, match=message) as caught:
        kind(make(data, transform, tops), "TRAIN", where="net.prototxt:3")
    assert caught.value.where == "net.prototxt:3"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("crop_height: 4", "only one side of the crop"),
        ("new_height: 8 new_width: 8 label_divide_factor: 2 crop_height: 4 crop_width: 4", "divide"),
        ("new_height: 8 new_width: 8 label_divide_factor: 0", "divide"),
    ],
)
def test_dense_parameters_that_are_refused(data, message):
    with pytest.raises(DataError, match=message):
        DenseImageSource(dense_layer(f"batch_size: 1 {data}"), "TRAIN")


def test_nothing_is_read_before_it_is_needed():
    layer = dense_layer('source: "nowhere.txt" batch_size: 2 crop_height: 4 crop_width: 6')
    data = DenseImageSource(layer, "TRAIN")
    assert data.shapes() == {"top0": (2, 3, 4, 6), "top1": (2, 1, 4, 6)}
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        data.next_batch()
    with pytest.raises(DataError, match="no list is named"):
        ImageSource(image_layer(), "TRAIN").next_batch()


def test_dense_labels_of_another_size(folder):
    save_label_png(folder / "labels/0.png", np.zeros((17, 11), np.uint8))
    with pytest.raises(DataError, match=r"labels/0\.png .*list\.txt:1"):
        dense(folder, dense_layer("batch_size: 1")).next_batch()
    resized = dense(folder, dense_layer("batch_size: 1 new_height: 6 new_width: 5"))
    assert [array.shape for array in resized.next_batch()] == [(1, 3, 6, 5), (1, 1, 6, 5)]
    with pytest.raises(DataError, match="smaller than the crop"):
        dense(
            folder, dense_layer("batch_size: 1 new_height: 6 new_width: 5 crop_height: 7 crop_width: 2")
        ).next_batch()


def test_label_divide_factor_with_a_flip(folder):
    layer = dense_layer("batch_size: 1 new_height: 8 new_width: 8 label_divide_factor: 2 mirror: true")
    straight = dense(folder, dense_layer("batch_size: 1 new_height: 8 new_width: 8 label_divide_factor: 2"))
    flipped = dense(folder, layer)
    flips = set()
    for _ in range(14):
        ours, theirs = flipped.next_batch(), straight.next_batch()
        flip = same(ours, [array[..., ::-1] for array in theirs])
        assert flip or same(ours, theirs)
        flips.add(flip)
    assert flips == {False, True}


def test_restoring_onto_another_list(classes):
    state = images(classes, image_layer()).state()
    (classes / "classes.txt").write_text("images/0.png 1\n")
    with pytest.raises(DataError, match="another list"):
        images(classes, image_layer()).restore(state)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_missing_image_is_named_with_its_line_and_nothing_is_skipped(classes, workers):
    (classes / "images/4.png").unlink()
    data = images(classes, image_layer("batch_size: 2", "crop_size: 5"), workers=workers)
    data.next_batch()
    data.next_batch()
    for _ in range(2):
        with pytest.raises(DataError, match=r"images/4\.png .*classes\.txt:5"):
            data.next_batch()
    assert data.state()["position"] == 4
    Image.fromarray(np.zeros((8, 25, 3), np.uint8)).save(classes / "images/4.png")
    assert data.next_batch()[1].tolist() == [3, 4]
    data.close()


def test_camvid_as_segnet_reads_it(shared):
    root = shared / "data/camvid"
    layer = load_net_parameter(shared / "prototxt/segnet/segnet_train.prototxt").layer[0]
    layer.dense_image_data_param.shuffle = False
    data = DenseImageSource(layer, "TRAIN", source=root / "train.txt", root=root)
    image, label = data.next_batch()
    first = data.samples[0]
    assert np.array_equal(image[0], read_image(first.image).transpose(2, 0, 1))
    assert np.array_equal(label[0, 0], read_label(first.label))


def test_photos_are_turned_where_the_layer_says_so(folder):
    photo = folder / "images/0.png"
    with Image.open(photo) as image:
        upright = np.asarray(image.convert("RGB"))[:, :, ::-1].transpose(2, 0, 1)
        exif = Image.Exif()
        exif[0x0112] = 3
        image.transpose(Image.Transpose.ROTATE_180).save(photo, exif=exif)
    turning = dense(folder, dense_layer("batch_size: 1 upright: true"), "TEST")
    assert np.array_equal(turning.next_batch()[0][0], upright)
    with pytest.warns(RotatedPhotos):
        dense(folder, dense_layer("batch_size: 1"), "TEST").next_batch()
