"""Reading caffemodels: values against protobuf's own reader, bytes against the file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from rlossctl.errors import WeightsError
from rlossctl.weights import load_caffemodel
from rlossctl.weights.legacy import V0_TYPES, V1_TYPES

FILES = ["rloss_sgd", "bvlc_adam", "segnet", "v0", "v0_upgraded", "v1", "v1_upgraded"]


def expected_layers(proto, data: bytes) -> list[tuple[str, list[np.ndarray]]]:
    net = proto.NetParameter.FromString(data)
    layers = []
    for layer in [*net.layer, *net.layers]:
        inner = layer.layer if net.layers and layer.HasField("layer") else None
        blobs = [*layer.blobs, *(inner.blobs if inner else [])]
        arrays = []
        for blob in blobs:
            old = any(blob.HasField(name) for name in ("num", "channels", "height", "width"))
            shape = (blob.num, blob.channels, blob.height, blob.width) if old else tuple(blob.shape.dim)
            arrays.append(np.array(blob.double_data or blob.data, np.float32).reshape(shape))
        layers.append((inner.name if inner else layer.name, arrays))
    return layers


def check_file(proto, path: Path) -> None:
    data = path.read_bytes()
    model = load_caffemodel(path)
    assert model.to_bytes() == data
    expected = expected_layers(proto, data)
    assert [layer.name for layer in model.layers] == [name for name, _ in expected]
    for layer, (_, arrays) in zip(model.layers, expected, strict=True):
        assert len(layer.blobs) == len(arrays)
        for blob, array in zip(layer.blobs, arrays, strict=True):
            np.testing.assert_array_equal(blob.array(), array, strict=True)
            assert blob.count == array.size
    stripped = proto.NetParameter.FromString(data)
    for layer in [*stripped.layer, *stripped.layers]:
        layer.ClearField("blobs")
        if stripped.layers and layer.HasField("layer"):
            layer.layer.ClearField("blobs")
    assert proto.NetParameter.FromString(model.message_bytes()) == stripped
    for layer, message in zip(model.layers, [*stripped.layer, *stripped.layers], strict=True):
        assert type(message).FromString(layer.message_bytes()) == message
        assert layer.message_type == type(message).__name__


def write_net(proto, path: Path, shape=(2, 3), **blob) -> Path:
    """A file with one layer "conv" of one blob."""
    message = proto.BlobProto(**blob)
    message.shape.dim.extend(shape)
    layer = proto.LayerParameter(name="conv", type="Convolution", blobs=[message])
    path.write_bytes(proto.NetParameter(name="net", layer=[layer]).SerializeToString())
    return path


@pytest.mark.parametrize("name", FILES)
def test_recorded_file_equals_protobuf(proto, golden, name):
    check_file(proto, golden / "weights" / f"{name}.caffemodel")


def test_shared_files_equal_protobuf(proto, shared):
    files = [path for path in shared.rglob("*.caffemodel") if path.is_file()]
    files.append(shared / "data/models/lenet_v1/lenet_iter_10000")
    assert len(files) > 20
    for path in files:
        check_file(proto, path)


@pytest.mark.parametrize("version", ["v0", "v1"])
def test_old_layers_read_as_caffe_upgrades_them(golden, version):
    def with_blobs(name):
        model = load_caffemodel(golden / "weights" / f"{name}.caffemodel")
        return [layer for layer in model.layers if layer.blobs]

    old, new = with_blobs(version), with_blobs(f"{version}_upgraded")
    assert [(layer.name, layer.type) for layer in old] == [(layer.name, layer.type) for layer in new]
    for before, after in zip(old, new, strict=True):
        for source, target in zip(before.blobs, after.blobs, strict=True):
            assert source.fits(target.shape)
            np.testing.assert_array_equal(source.array().ravel(), target.array().ravel())


def test_v1_type_names_are_caffes(shared):
    text = (shared / "spec/caffe.md").read_text()
    enum = re.search(r"enum LayerType\{([^}]*)\}", text).group(1)
    numbers = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", enum)}
    old, new = (
        (shared / f"golden/legacy/v1_all_types.{kind}.prototxt").read_text() for kind in ("in", "out")
    )
    names = zip(re.findall(r"type: (\w+)", old), re.findall(r'type: "(\w*)"', new), strict=True)
    assert {numbers[name]: upgraded for name, upgraded in names} == V1_TYPES
    assert set(V0_TYPES.values()) <= set(V1_TYPES.values())


def test_old_layer_with_unknown_type_number_reads_as_unset(proto, tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(proto.NetParameter(layers=[{"name": "x", "type": 99}]).SerializeToString())
    assert [(layer.name, layer.type) for layer in load_caffemodel(path).layers] == [("x", "")]


def test_packed_values_are_a_read_only_view_of_the_file(proto, tmp_path):
    model = load_caffemodel(write_net(proto, tmp_path / "net.caffemodel", data=range(6)))
    array = model.layers[0].blobs[0].array()
    assert not array.flags.owndata and not array.flags.writeable
    assert np.shares_memory(array, np.frombuffer(model._source.view, np.uint8))
    np.testing.assert_array_equal(array, np.arange(6, dtype=np.float32).reshape(2, 3), strict=True)


def test_double_data_wins_over_data_and_is_cast(proto, tmp_path):
    doubles = [0.1, -2, 1e300, float("nan"), 5, 6]
    path = write_net(proto, tmp_path / "net.caffemodel", data=range(6), double_data=doubles)
    array = load_caffemodel(path).layers[0].blobs[0].array()
    expected = np.array([0.1, -2, np.inf, np.nan, 5, 6], np.float32).reshape(2, 3)
    np.testing.assert_array_equal(array, expected, strict=True)
    assert not array.flags.writeable


@pytest.mark.parametrize("kind", ["data", "double_data"])
def test_unpacked_values(proto, tmp_path, kind):
    count = 70_000  # more than one step of the run counter
    values = np.arange(count, dtype=np.float32)
    blob = {kind: values, "shape": {"dim": [count]}}
    path = tmp_path / "net.caffemodel"
    path.write_bytes(proto.LooseNet(layer=[{"name": "a", "blobs": [blob]}]).SerializeToString())
    model = load_caffemodel(path)
    np.testing.assert_array_equal(model.layers[0].blobs[0].array(), values, strict=True)
    changed = model.with_blobs({("a", 0): -values}).to_bytes()
    np.testing.assert_array_equal(
        getattr(proto.LooseNet.FromString(changed).layer[0].blobs[0], kind), -values
    )


def test_values_in_several_pieces_and_an_overlong_tag(proto, tmp_path):
    def field(number, payload):
        return bytes([number << 3 | 2, len(payload)]) + payload

    one, two, three = (np.array([value], "<f4").tobytes() for value in (1, 2, 3))
    overlong = b"\xad\x00"  # field 5, 32 bit, in two bytes
    blob = field(5, one) + b"\x2d" + two + overlong + three + field(7, b"\x08\x03")  # unpacked dim, too
    data = b"\xa2\x06" + bytes([len(blob) + 2]) + field(7, blob)
    path = tmp_path / "net.caffemodel"
    path.write_bytes(data)
    assert list(proto.NetParameter.FromString(data).layer[0].blobs[0].data) == [1, 2, 3]
    model = load_caffemodel(path)
    np.testing.assert_array_equal(model.layers[0].blobs[0].array(), [1, 2, 3])
    changed = model.with_blobs({("", 0): np.array([4, 5, 6])}).to_bytes()
    assert list(proto.NetParameter.FromString(changed).layer[0].blobs[0].data) == [4, 5, 6]
    assert len(changed) == len(data)


@pytest.mark.parametrize(
    ("legacy", "target", "fits"),
    [
        ((1, 1, 1, 20), (20,), True),
        ((1, 1, 1, 20), (1, 20), True),
        ((1, 1, 1, 20), (20, 1), False),
        ((1, 1, 500, 800), (500, 800), True),
        ((1, 1, 500, 800), (400_000,), False),
        ((1, 1, 1, 1), (), True),
        ((1, 1, 1, 1), (1,), True),
        ((20, 1, 5, 5), (20, 1, 5, 5), True),
        ((1, 20, 1, 1), (20,), False),
        ((1, 1, 1, 20), (1, 1, 1, 1, 20), False),
        (None, (2, 3), True),
        (None, (1, 2, 3), False),
        (None, (3, 2), False),
    ],
)
def test_shape_comparison(proto, tmp_path, legacy, target, fits):
    if legacy is None:
        path = write_net(proto, tmp_path / "net.caffemodel", data=range(6))
    else:
        dims = dict(zip(("num", "channels", "height", "width"), legacy, strict=True))
        count = int(np.prod(legacy))
        path = write_net(proto, tmp_path / "net.caffemodel", shape=(), data=np.zeros(count), **dims)
    blob = load_caffemodel(path).layers[0].blobs[0]
    assert blob.legacy == (legacy is not None)
    assert blob.fits(target) == fits
    assert blob.squeezed_shape == tuple(
        np.trim_zeros(np.array(blob.shape) - 1, "f") + 1 if legacy else (2, 3)
    )


def test_scalar_and_empty_blobs(proto, tmp_path):
    scalar = (
        load_caffemodel(write_net(proto, tmp_path / "a.caffemodel", shape=(), data=[7])).layers[0].blobs[0]
    )
    assert scalar.shape == () and scalar.array() == np.float32(7)
    empty = load_caffemodel(write_net(proto, tmp_path / "b.caffemodel", shape=(0, 3))).layers[0].blobs[0]
    assert empty.array().shape == (0, 3)


@pytest.mark.parametrize("name", FILES)
def test_replacing_blobs_changes_only_their_bytes(proto, golden, tmp_path, name):
    model = load_caffemodel(golden / "weights" / f"{name}.caffemodel")
    layer = next(layer for layer in reversed(model.layers) if layer.blobs)
    old = layer.blobs[-1].array()
    new = (-old - 1).astype(np.float64)
    changed = model.with_blobs(
        {(layer.name, len(layer.blobs) - 1): new.reshape(layer.blobs[-1].squeezed_shape)}
    )
    path = tmp_path / "out.caffemodel"
    changed.save(path)
    data = changed.to_bytes()
    assert path.read_bytes() == data
    assert model.to_bytes() == model.to_bytes() != data
    before, after = (np.frombuffer(blob, np.uint8) for blob in (model.to_bytes(), data))
    assert before.size == after.size and np.count_nonzero(before != after) <= old.nbytes
    again = next(layer for layer in reversed(load_caffemodel(path).layers) if layer.blobs).blobs[-1]
    np.testing.assert_array_equal(again.array(), -old - 1, strict=True)
    at = [layer.name for layer in model.layers].index(layer.name)
    np.testing.assert_array_equal(changed.layers[at].blobs[-1].array(), -old - 1)
    np.testing.assert_array_equal(layer.blobs[-1].array(), old)


def test_a_model_may_overwrite_its_own_file(proto, tmp_path):
    path = write_net(proto, tmp_path / "net.caffemodel", data=range(6))
    model = load_caffemodel(path)
    model.with_blobs({("conv", 0): np.ones((2, 3))}).save(path)
    np.testing.assert_array_equal(load_caffemodel(path).layers[0].blobs[0].array(), np.ones((2, 3)))
    np.testing.assert_array_equal(model.layers[0].blobs[0].array().ravel(), range(6))


@pytest.mark.parametrize(
    ("key", "shape", "words"),
    [
        (("conv", 1), (2, 3), ["layer 'conv' with 1 blobs", "blob 1 of layer 'conv'"]),
        (("conv", -1), (2, 3), ["layer 'conv' with 1 blobs"]),
        (("none", 0), (2, 3), ["no layer 'none'"]),
        (("conv", 0), (3, 2), ["shape (3, 2)", "shape (2, 3)", "blob 0 of layer 'conv'"]),
    ],
)
def test_replacing_what_is_not_there(proto, tmp_path, key, shape, words):
    model = load_caffemodel(write_net(proto, tmp_path / "net.caffemodel", data=range(6)))
    with pytest.raises(WeightsError) as caught:
        model.with_blobs({key: np.zeros(shape)})
    for word in ["net.caffemodel", *words]:
        assert word in str(caught.value)


def test_name_that_is_not_utf8(proto, tmp_path):
    path = tmp_path / "net.caffemodel"
    path.write_bytes(b"\xa2\x06\x05\x0a\x03a\xff\x62")
    model = load_caffemodel(path)
    assert model.layers[0].name == "a\\xffb" and model.name == ""
    assert model.to_bytes() == path.read_bytes()
