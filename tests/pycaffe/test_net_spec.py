"""caffe.net_spec and caffe.coord_map; after Caffe's test_net_spec.py and test_coord_map.py."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format


@pytest.fixture
def spec(caffe):
    """NetSpec, L and P."""
    return caffe.NetSpec, caffe.layers, caffe.params


def lenet(n, L, P):
    n.data, n.label = L.DummyData(shape=[{"dim": [4, 1, 28, 28]}, {"dim": [4]}], ntop=2)
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler={"type": "xavier"})
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.ip1 = L.InnerProduct(n.pool1, num_output=np.int64(50), weight_filler={"type": "xavier"})
    n.relu1 = L.ReLU(n.ip1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10, param=[{"lr_mult": 2}, {"lr_mult": 0, "decay_mult": 0}])
    n.loss = L.SoftmaxWithLoss(n.score, n.label, loss_param={"ignore_label": 255}, loss_weight=2)
    return n


def test_a_net_with_names(caffe, spec, tmp_path) -> None:
    make, L, P = spec
    proto = lenet(make(), L, P).to_proto()
    assert [layer.name for layer in proto.layer] == [
        *("data", "conv1", "pool1", "ip1", "relu1", "score", "loss"),
    ]
    assert proto.layer[4].bottom == proto.layer[4].top == ["ip1"]
    assert proto.layer[5].bottom == ["ip1"] and [spec.lr_mult for spec in proto.layer[5].param] == [2, 0]
    assert proto.layer[6].loss_param.ignore_label == 255 and proto.layer[6].loss_weight == [2]
    assert proto.layer[2].pooling_param.pool == caffe.proto.caffe_pb2.PoolingParameter.MAX
    (tmp_path / "lenet.prototxt").write_text(str(proto))
    net = caffe.Net(str(tmp_path / "lenet.prototxt"), caffe.TEST)
    assert len(net.layers) == 7 and np.isfinite(net.forward()["loss"])
    assert type(proto).FromString(proto.SerializeToString()) == proto


def test_outputs_without_names_are_numbered(spec) -> None:
    _, L, _ = spec
    data, label = L.DummyData(shape={"dim": 3}, ntop=2)
    first, second = L.Power(data, scale=2), L.Power(data, scale=3)
    proto = L.EuclideanLoss(L.Eltwise(first, second), label).to_proto()
    assert [layer.name for layer in proto.layer] == [
        "DummyData1",
        "Power1",
        "Power2",
        "Eltwise1",
        "EuclideanLoss1",
    ]
    assert list(proto.layer[0].top) == ["DummyData1", "DummyData2"]
    assert list(proto.layer[3].bottom) == ["Power1", "Power2"]


def test_layers_without_outputs_and_names_given_twice(caffe, spec, net) -> None:
    make, L, _ = spec
    n = make()
    n.a, n.b = L.DummyData(shape={"dim": 3}, ntop=2)
    n.silent = L.Silence(n.a, ntop=0)
    n.b = L.Power(n.b)
    n["c"] = L.Power(n["a"], name="third")
    proto = n.to_proto()
    assert {layer.name: list(layer.top) for layer in proto.layer} == {
        "a": ["a", "DummyData1"],
        "silent": [],
        "b": ["b"],
        "third": ["c"],
    }
    assert set(net(str(proto)).forward()) == {"b", "c"}
    assert [layer.name for layer in caffe.to_proto(n.b).layer] == ["DummyData1", "Power1"]


def test_only_outputs_are_inputs(spec) -> None:
    _, L, _ = spec
    data = L.DummyData(ntop=2)
    with pytest.raises(TypeError, match=r"^Silence input 0 is not a Top \(type is <class 'tuple'>\)$"):
        L.Silence(data, ntop=0)
    with pytest.raises(AttributeError):
        L.Convolution(*data[:1], no_such_field=1).to_proto()


def test_assign_proto(caffe) -> None:
    pb = caffe.proto.caffe_pb2
    layer = pb.LayerParameter()
    for name, value in (
        ("name", "a"),
        ("bottom", ["x", "y"]),
        ("loss_weight", 3),
        ("param", {"lr_mult": 1}),
        ("convolution_param", {"num_output": 3, "kernel_size": [1, 2], "weight_filler": {"type": "msra"}}),
        ("include", [{"phase": caffe.TEST, "stage": "deploy"}]),
    ):
        caffe.net_spec.assign_proto(layer, name, value)
    expected = pb.LayerParameter()
    text_format.Merge(
        'name: "a" bottom: "x" bottom: "y" loss_weight: 3 param { lr_mult: 1 } '
        'include { phase: TEST stage: "deploy" } '
        'convolution_param { num_output: 3 kernel_size: 1 kernel_size: 2 weight_filler { type: "msra" } }',
        expected,
    )
    assert layer == expected


def strides(spec, kernel=3, pad=0, pool=2, up=2, up_pad=0):
    make, L, P = spec
    n = make()
    n.data = L.Input(shape={"dim": [2, 1, 100, 100]})
    n.conv = L.Convolution(n.data, num_output=10, kernel_size=kernel, pad=pad)
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=pool, stride=pool)
    n.up = L.Deconvolution(n.pool, num_output=10, kernel_size=2 * up, stride=up, pad=up_pad)
    return n


@pytest.mark.parametrize(
    ("settings", "shift"),
    [({}, 0), ({"pool": 4, "up": 4}, -1), ({"pad": 5}, -5), ({"up_pad": 3}, 3), ({"pad": 3, "up_pad": 3}, 0)],
)
def test_coordinates_of_a_net(caffe, spec, settings, shift) -> None:
    n = strides(spec, **settings)
    n.relu = spec[1].ReLU(n.up)
    for top in (n.up, n.relu):
        axis, scale, found = caffe.coord_map.coord_map_from_to(top, n.data)
        assert (axis, scale, found) == (1, 1, shift)


def test_each_axis_has_its_own_map(caffe, spec) -> None:
    n = strides(spec, kernel=[3, 5], pad=[0, 10])
    _, scale, shift = caffe.coord_map.coord_map_from_to(n.up, n.data)
    assert scale == 1 and shift.tolist() == [0, -9]


@pytest.mark.parametrize("offset", [0, 4])
def test_a_crop_moves_coordinates(caffe, spec, offset) -> None:
    n = strides(spec, pad=5)
    n.cut = spec[1].Crop(n.up, n.data, axis=2, offset=offset)
    assert caffe.coord_map.coord_map_from_to(n.cut, n.data) == (1, 1, -5 + offset)
    crop = caffe.coord_map.crop(n.up, n.data)
    assert crop.fn.params == {"crop_param": {"axis": 2, "offset": [5]}}


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [({"pool": 3}, AssertionError, "scale mismatch"), ({"up_pad": 10}, AssertionError, "negative width")],
)
def test_impossible_crops(caffe, spec, settings, error, message) -> None:
    n = strides(spec, **settings)
    with pytest.raises(error, match=message):
        caffe.coord_map.crop(n.up, n.data)


def test_unrelated_blobs(caffe, spec) -> None:
    n = strides(spec)
    n.ip = spec[1].InnerProduct(n.up, num_output=3)
    with pytest.raises(RuntimeError, match="Could not compute map"):
        caffe.coord_map.coord_map_from_to(n.ip, n.data)
