"""caffe.io, Classifier, Detector, caffe_pb2, draw; numbers of skimage 0.26 and Caffe's io.py, recorded."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

CLASSIFIER = """input: "data" input_shape { dim: 4 dim: 3 dim: 6 dim: 6 }
layer { name: "mean" type: "Pooling" bottom: "data" top: "mean"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "mean" top: "ip" inner_product_param { num_output: 5
  weight_filler { type: "gaussian" std: 1 } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }"""


@pytest.fixture
def photo() -> np.ndarray:
    rows, columns, channels = np.ogrid[:5, :7, :3]
    return (np.sin(rows + 2 * columns + 3 * channels) / 2 + 0.5).astype(np.float32)


@pytest.mark.parametrize(
    ("order", "rows"),
    [
        (
            0,
            [[0.5, 0.1216, 0.9947, 0.2317], [0.9546, 0.3603, 0.228, 0.9953], [0.1216, 0.9947, 0.2317, 0.356]],
        ),
        (
            1,
            [
                [0.7101, 0.1415, 0.8507, 0.3015],
                [0.6423, 0.4396, 0.3238, 0.709],
                [0.2622, 0.8703, 0.1836, 0.6578],
            ],
        ),
    ],
)
def test_resizing_is_skimages_without_smoothing(caffe, photo, order, rows) -> None:
    """skimage.transform.resize(photo, (3, 4), order=order, mode="constant", anti_aliasing=False)."""
    assert np.allclose(caffe.io.resize_image(photo, (3, 4), order)[..., 0], rows, atol=6e-5)


def test_what_lies_outside_of_an_image_is_its_least_value(caffe, photo) -> None:
    """0 in skimage, for an image that was scaled to 0 to 1."""
    grown = caffe.io.resize_image(photo, (10, 14))
    low = photo.min()
    assert grown[0, 0, 0] == pytest.approx(low + (photo[0, 0, 0] - low) * 9 / 16)
    inner = np.array([1, 3]) @ photo[1:3, 2:4, 0] @ [1, 3] / 16
    assert grown[4, 6, 0] == pytest.approx(inner)


def test_constant_images_and_other_numbers_of_channels(caffe) -> None:
    assert (caffe.io.resize_image(np.full((3, 3, 1), 2.5), (2, 5)) == 2.5).all()
    pytest.importorskip("scipy", reason="needs the extra pycaffe")
    ramp = np.tile(np.arange(4.0)[:, None, None], (1, 4, 2))
    assert np.allclose(caffe.io.resize_image(ramp, (7, 4))[:, 0, 1], np.linspace(0, 3, 7))


def test_photos_are_floats_in_rgb(caffe, tmp_path) -> None:
    pixels = np.array([[[255, 0, 51], [0, 102, 204]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    image = caffe.io.load_image(str(tmp_path / "p.png"))
    assert image.dtype == np.float32 and np.allclose(image * 255, pixels)
    grey = caffe.io.load_image(str(tmp_path / "p.png"), color=False)
    assert grey.shape == (1, 2, 1) and np.allclose(grey[0, :, 0], pixels[0] / 255 @ [0.2125, 0.7154, 0.0721])
    for mode, channels in (("L", 3), ("P", 3), ("RGBA", 3)):
        Image.fromarray(pixels).convert(mode).save(tmp_path / "q.png")
        assert caffe.io.load_image(tmp_path / "q.png").shape == (1, 2, channels)
    Image.fromarray(np.array([[65535, 0]], np.uint16)).save(tmp_path / "r.png")
    assert caffe.io.load_image(tmp_path / "r.png", color=False).ravel().tolist() == [1, 0]


def test_the_order_of_preprocessing(caffe, photo) -> None:
    transformer = caffe.io.Transformer({"data": (1, 3, 5, 7)})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_raw_scale("data", 255)
    transformer.set_mean("data", np.array([1.0, 2, 3]))
    transformer.set_input_scale("data", 0.5)
    found = transformer.preprocess("data", photo)
    bgr = photo[:, :, ::-1].transpose(2, 0, 1) * 255
    assert found.dtype == np.float32
    assert np.allclose(found, (bgr - np.array([1, 2, 3])[:, None, None]) * 0.5, atol=1e-4)
    assert np.allclose(transformer.deprocess("data", found[None]), photo, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t.set_transpose("data", (1, 0)), Exception, "same number of dimensions"),
        (lambda t: t.set_channel_swap("data", (1, 0)), Exception, "input channels"),
        (lambda t: t.set_mean("data", np.zeros(2)), ValueError, "channels incompatible"),
        (lambda t: t.set_mean("data", np.zeros((1, 1, 1, 1))), ValueError, "shape invalid"),
        (lambda t: t.set_raw_scale("label", 1), Exception, "not one of the net inputs"),
    ],
)
def test_wrong_settings_are_refused(caffe, call, error, message) -> None:
    with pytest.raises(error, match=message):
        call(caffe.io.Transformer({"data": (1, 3, 5, 7)}))


def test_a_mean_image_is_resized(caffe) -> None:
    transformer = caffe.io.Transformer({"data": (1, 1, 2, 2)})
    transformer.set_mean("data", np.arange(16.0).reshape(1, 4, 4))
    assert transformer.mean["data"].ravel().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_ten_crops(caffe) -> None:
    image = np.arange(5 * 6, dtype=np.float32).reshape(5, 6, 1)
    crops = caffe.io.oversample([image, image + 100], (2, 3))
    assert crops.shape == (20, 2, 3, 1)
    assert crops[:5, 0, 0, 0].tolist() == [0, 3, 18, 21, 7], "corners, then the centre (1.5 and 1.5 cut off)"
    assert np.array_equal(crops[5:10], crops[:5, :, ::-1]) and np.array_equal(crops[10:], crops[:10] + 100)


def test_arrays_as_messages(caffe) -> None:
    io, pb = caffe.io, caffe.proto.caffe_pb2
    array = np.arange(6.0).reshape(1, 2, 3)
    blob = io.array_to_blobproto(array, diff=-array)
    assert list(blob.shape.dim) == [1, 2, 3] and np.array_equal(io.blobproto_to_array(blob), array)
    assert np.array_equal(io.blobproto_to_array(blob, return_diff=True), -array)
    old = pb.BlobProto(num=1, channels=1, height=2, width=3, data=range(6))
    assert io.blobproto_to_array(old).shape == (1, 1, 2, 3)
    with pytest.raises(ValueError):
        io.blobproto_to_array(pb.BlobProto(data=range(6)))
    text = io.arraylist_to_blobprotovector_str([array, array + 1])
    assert [each[0, 0, 0] for each in io.blobprotovector_str_to_arraylist(text)] == [0, 1]
    for values in (np.arange(6, dtype=np.uint8).reshape(1, 2, 3), array):
        datum = io.array_to_datum(values, label=4)
        assert np.array_equal(io.datum_to_array(datum), values) and datum.label == 4
        assert not io.array_to_datum(values).HasField("label")


def test_caffe_pb2_has_caffes_names(caffe) -> None:
    pb = caffe.proto.caffe_pb2
    net = pb.NetParameter()
    text_format.Merge(
        'name: "n" layer { type: "Pooling" pooling_param { pool: AVE } } layers { type: RELU }', net
    )
    assert net.DESCRIPTOR.full_name == "caffe.NetParameter"
    assert net.layer[0].pooling_param.pool == pb.PoolingParameter.AVE == 1
    assert net.layers[0].type == pb.V1LayerParameter.RELU == pb.LayerParameter.LayerType.Value("RELU")
    assert (pb.TRAIN, pb.TEST, pb.SolverParameter.GPU) == (0, 1, 1) and pb.Phase.Name(1) == "TEST"
    assert pb.NetParameter.FromString(net.SerializeToString()) == net
    assert pb.Datum(label=3).label == 3 and "NetParameter" in pb.DESCRIPTOR.message_types_by_name


@pytest.fixture
def model(net, tmp_path) -> tuple[str, str]:
    weights = str(tmp_path / "c.caffemodel")
    net(CLASSIFIER, 1).save(weights)
    return str(tmp_path / "net.prototxt"), weights


def test_classifier(caffe, model) -> None:
    """The mean of ten crops' scores, or the centre's."""
    photos = list(np.random.default_rng(0).random((3, 9, 8, 3)).astype(np.float32))
    classifier = caffe.Classifier(
        *model, image_dims=(8, 10), mean=np.array([10.0, 20, 30]), raw_scale=255, channel_swap=(2, 1, 0)
    )
    assert classifier.crop_dims.tolist() == [6, 6]
    resized = [caffe.io.resize_image(photo, (8, 10)) for photo in photos]

    def scores(crops: list[np.ndarray]) -> np.ndarray:
        inputs = [classifier.transformer.preprocess("data", crop) for crop in crops]
        return classifier.forward_all(data=np.array(inputs))["prob"]

    centre = classifier.predict(photos, oversample=False)
    assert np.allclose(centre, scores([each[1:7, 2:8] for each in resized]), atol=1e-6)
    ten = classifier.predict(photos)
    expected = scores(list(caffe.io.oversample(resized, (6, 6)))).reshape(3, 10, 5).mean(1)
    assert ten.shape == (3, 5) and np.allclose(ten, expected, atol=1e-6)


def test_detector(caffe, model, tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    windows = np.array([[2, 3, 14, 15], [0, 0, 20, 30]])
    plain = caffe.Detector(*model, raw_scale=255, channel_swap=(2, 1, 0))
    found = plain.detect_windows([(str(tmp_path / "p.png"), windows)])
    assert [each["window"].tolist() for each in found] == windows.tolist()
    assert all(each["prediction"].shape == (5,) and each["filename"].endswith("p.png") for each in found)
    image = caffe.io.load_image(tmp_path / "p.png")
    crop = plain.transformer.preprocess("data", image[2:14, 3:15])
    assert np.allclose(found[0]["prediction"], plain.forward_all(data=crop[None])["prob"][0], atol=1e-6)


def test_context_of_a_window(caffe, model) -> None:
    """R-CNN's crop: a window of 4 of 6 pixels with 1 around; what lies beyond the image is the mean."""
    mean = np.array([51.0, 102, 153])
    detector = caffe.Detector(*model, mean=mean, raw_scale=255, channel_swap=(2, 1, 0), context_pad=1)
    image = np.ones((12, 12, 3), np.float32)
    inside = detector.crop(image, np.array([4, 4, 7, 7]))
    assert inside.shape == (6, 6, 3) and (inside == 1).all()
    corner = detector.crop(image, np.array([0, 0, 3, 3]))
    assert np.allclose(corner[0], mean[::-1] / 255), "RGB, as a photo is"
    assert (corner[2:, 2:] == 1).all()


def test_drawings_are_svg(caffe, tmp_path) -> None:
    pb = caffe.proto.caffe_pb2
    net = pb.NetParameter()
    text_format.Merge(
        """name: "two phases" layer { name: "a" type: "Data" top: "x" include { phase: TRAIN } }
        layer { name: "b" type: "NoSuchType" top: "x" include { phase: TEST } }
        layer { name: "c" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 3 } }""",
        net,
    )
    picture = caffe.draw.draw_net(net, "LR").decode()
    assert picture.startswith("<svg") and all(f">{name}<" in picture for name in "abc")
    assert ">b<" not in caffe.draw.draw_net(net, "LR", phase=caffe.TRAIN).decode()
    caffe.draw.draw_net_to_file(net, str(tmp_path / "n.svg"))
    with pytest.warns(caffe.draw.DrawnAsSvg, match=r"n.png is written as .*n.svg"):
        caffe.draw.draw_net_to_file(net, str(tmp_path / "n.png"), "TB")
    assert [file.name for file in tmp_path.iterdir()] == ["n.svg"]


def test_the_rest_of_the_names(caffe) -> None:
    assert {"Data", "Convolution", "InnerProduct", "Python"} <= set(caffe.layer_type_list())
    assert not caffe.has_nccl() and (caffe.solver_count(), caffe.solver_rank()) == (1, 0)
    with pytest.raises(Exception, match="one GPU only"):
        caffe.NCCL.new_uid()
    timer = caffe.Timer()
    timer.start()
    timer.stop()
    assert 0 <= timer.ms < 1000
    caffe.set_device(0)
    import torch

    if not torch.cuda.is_available():
        with pytest.warns(UserWarning, match="no CUDA GPU"):
            caffe.set_mode_gpu()
    caffe.set_mode_cpu()
