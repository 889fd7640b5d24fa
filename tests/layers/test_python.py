"""The Python layer: pycaffe's interface, the user's permission, and ENet's SpatialDropout."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import rlossctl
from rlossctl.errors import NetError
from rlossctl.net import load_net
from rlossctl.weights import write_caffemodel_h5

MODULE = """
import caffe
import numpy as np


class Affine(caffe.Layer):
    def setup(self, bottom, top):
        assert self.phase == caffe.TRAIN
        self.factor = float(self.param_str)
        self.blobs.add_blob(bottom[0].channels)
        self.blobs[0].data[...] = 5

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)
        top[1].reshape(1)

    def forward(self, bottom, top):
        shift = self.blobs[0].data.reshape(1, -1, 1, 1)
        top[0].data[...] = self.factor * bottom[0].data + shift
        top[1].data[...] = bottom[1].data.sum()

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] = top[0].diff.sum((0, 2, 3))
        if propagate_down[0]:
            bottom[0].diff[...] = self.factor * top[0].diff
        assert not propagate_down[1]


class Count(caffe.Layer):
    def setup(self, bottom, top):
        self.passes = 0

    def reshape(self, bottom, top):
        top[0].reshape(2, 1, 1, 3)

    def forward(self, bottom, top):
        self.passes += 1
        top[0].data[...] = self.passes


class Broken(Count):
    def forward(self, bottom, top):
        raise RuntimeError("the camera is off")


class Endless(Count):
    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data
"""


@pytest.fixture
def write(tmp_path: Path):
    """write(layers) gives a prototxt of these layers beside the user's module."""
    (tmp_path / "a_users_layers.py").write_text(MODULE)

    def text(layers: str) -> Path:
        (tmp_path / "net.prototxt").write_text(layers)
        return tmp_path / "net.prototxt"

    return text


def python_layer(name: str, more: str) -> str:
    param = f'python_param {{ module: "a_users_layers" layer: "{name}" param_str: "2.5" }}'
    return f'layer {{ name: "l" type: "Python" {more} {param} }}\n'


AFFINE = (
    'input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 } input: "seen" input_shape { dim: 4 }\n'
    + python_layer("Affine", 'bottom: "x" bottom: "seen" top: "y" top: "sum" loss_weight: 0 loss_weight: 1')
)


@pytest.mark.proves("Python", gradient=True)
def test_forward_and_backward_are_the_users(write):
    with rlossctl.python_layers_allowed():
        net = load_net(write(AFFINE), phase="TRAIN")
    assert net.shapes["y"] == (2, 3, 4, 5) and net.shapes["sum"] == (1,)
    (shift,) = net.params["l"]
    assert shift.tolist() == [5, 5, 5] and [entry.layer for entry in net.learnable] == ["l"]
    x = torch.randn(1, 3, 2, 2, requires_grad=True)  # another size than the prototxt's
    result = net.run({"x": x, "seen": torch.arange(4.0)}, keep=True)
    torch.testing.assert_close(result.blobs["y"], 2.5 * x + 5)
    assert result.loss.item() == 6
    (result.blobs["y"].square().sum() / 2 + result.loss).backward()
    y = result.blobs["y"].detach()
    torch.testing.assert_close(x.grad, 2.5 * y)
    torch.testing.assert_close(shift.grad, y.sum((0, 2, 3)))


def test_without_bottoms_it_feeds_the_net(write):
    text = python_layer("Count", 'top: "data"') + 'layer { name: "r" type: "ReLU" bottom: "data" top: "y" }'
    with rlossctl.python_layers_allowed():
        net = load_net(write(text))
    assert net.shapes["data"] == (2, 1, 1, 3)
    assert [net.run().outputs["y"].unique().tolist() for _ in range(2)] == [[1], [2]]
    assert net(data=torch.full((2, 1, 1, 3), 7.0))["y"].unique().tolist() == [7]


def test_nothing_runs_without_permission(write):
    with pytest.raises(NetError, match=r"would run a program: the class Affine .*a_users_layers") as caught:
        load_net(write(AFFINE), phase="TRAIN")
    assert "--allow-python-layers" in caught.value.advice and "net.prototxt:2" in caught.value.where
    with rlossctl.python_layers_allowed():
        pass
    with pytest.raises(NetError, match="would run a program"):
        load_net(write(AFFINE), phase="TRAIN")


@pytest.mark.parametrize(
    ("old", "new", "message", "found"),
    [
        ('"a_users_layers"', '"no_such_module"', "cannot be loaded", "ModuleNotFoundError: No module named"),
        ('"Affine"', '"Nothing"', "cannot be loaded", "AttributeError"),
        ('"2.5"', '"much"', "failed in setup", "ValueError: could not convert.*a_users_layers.py:9"),
    ],
)
def test_what_the_users_code_raises_is_told_with_its_place(write, old, new, message, found):
    with rlossctl.python_layers_allowed(), pytest.raises(NetError, match=message) as caught:
        load_net(write(AFFINE.replace(old, new)), phase="TRAIN")
    assert re.search(found, caught.value.found)


def test_a_failing_pass_names_the_layer(write):
    with rlossctl.python_layers_allowed():
        net = load_net(write(python_layer("Broken", 'top: "data"')))
    with pytest.raises(NetError, match=r"layer 'l'.*failed in forward") as caught:
        net.run()
    assert caught.value.found.startswith("RuntimeError: the camera is off (a_users_layers.py:")


def test_no_backward_and_two_passes(write):
    text = 'input: "x" input_shape { dim: 1 dim: 2 }\n' + python_layer("Endless", 'bottom: "x" top: "y"')
    with rlossctl.python_layers_allowed():
        net = load_net(write(text))
    x = torch.ones(1, 2, requires_grad=True)
    first = net(x=x)["y"].sum()
    with pytest.raises(NetError, match="failed in backward") as caught:
        first.backward()
    assert "Endless has no backward" in caught.value.found
    first = net(x=x)["y"].sum()
    net(x=x)
    with pytest.raises(NetError, match="second forward pass"):
        first.backward()


PRELU = 'layer { name: "p" type: "PReLU" bottom: "y" top: "z" }'


def test_it_is_not_exported(write, tmp_path):
    text = 'input: "x" input_shape { dim: 1 dim: 2 }\n' + python_layer("Endless", 'bottom: "x" top: "y"')
    with rlossctl.python_layers_allowed():
        net = load_net(write(text + PRELU))
        write_caffemodel_h5(tmp_path / "net.caffemodel.h5", [("p", {0: np.ones(2, np.float32)})])
        with pytest.raises(NetError, match=r"layer 'l'.*cannot be exported") as caught:
            rlossctl.convert(net.file.path, tmp_path / "net.caffemodel.h5", tmp_path / "net.onnx")
    assert "the user's code" in caught.value.found and not (tmp_path / "net.onnx").exists()


DROPOUT = (
    'input: "x" input_shape { dim: 4 dim: 64 dim: 3 dim: 3 }\n'
    'layer { name: "d" type: "Python" bottom: "x" top: "y" python_param { module: "spatial_dropout" '
    'layer: "SpatialDropoutLayer" param_str: "%s" } }'
)


def test_spatial_dropout_drops_whole_channels(build):
    net = build(
        DROPOUT % r"{\'phase\': \'TRAIN\', \'p\': \'0.25\'}", "TEST"
    )  # param_str rules, not the phase
    x = torch.ones(4, 64, 3, 3, requires_grad=True)
    torch.manual_seed(0)
    y = net(x=x)["y"]
    channels = y.detach().flatten(2)
    assert (channels == channels[..., :1]).all()
    kept = channels[..., 0]
    assert kept.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert 0.6 < (kept > 0).double().mean() < 0.9
    assert not (kept[0] == kept[1]).all()
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach())  # each image its own channels


def test_spatial_dropout_multiplies_in_test_too(build):
    net = build(DROPOUT % r"{\'phase\': \'TEST\', \'p\': 0.2}")
    x = torch.randn(4, 64, 3, 3)
    torch.testing.assert_close(net(x=x)["y"], x / 0.8)


@pytest.mark.parametrize("text", ["", "{'p': 0.1}", "{'phase': 'TEST', 'p': 1}", "import os", "[1]"])
def test_spatial_dropout_reads_its_param_str_as_data(build, text):
    with pytest.raises(NetError, match="param_str does not say what to drop"):
        build(DROPOUT % text.replace("'", r"\'"))


FED = """
layer { name: "data" type: "Python" top: "data" top: "label" top: "im_info"
  python_param { module: "nobody_has_this" layer: "Data" } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "c" bottom: "label" top: "loss" }
layer { name: "other" type: "EuclideanLoss" bottom: "im_info" bottom: "im_info" top: "o" }
"""


def test_a_data_layer_is_fed_where_its_images_shape_is_given(build):
    net = build(FED, data={"image_shape": (3, 9, 8)})
    assert net.shapes["data"] == (1, 3, 9, 8) and net.shapes["im_info"] == (1, 3)
    assert net.shapes["label"] == (1, 1, 7, 6)  # as the loss needs it: nobody states it
    blobs = {"data": torch.zeros(1, 3, 9, 8), "label": torch.zeros(1, 1, 7, 6), "im_info": torch.zeros(1, 3)}
    assert net.run(blobs).loss.item() == pytest.approx(np.log(4))


def test_all_layers_that_would_run_a_program_are_named_at_once(build):
    text = "".join(
        f'layer {{ name: "p{n}" type: "Python" bottom: "data" top: "t{n}" '
        f'python_param {{ module: "m" layer: "L{n}" }} }}'
        for n in range(3)
    )
    with pytest.raises(NetError, match="would run a program: the class L0") as caught:
        build(f'input: "data" input_shape {{ dim: 1 }} {text}', data={"image_shape": (3, 9, 8)})
    assert "'p1' (m.L1, net.prototxt:1), 'p2' (m.L2" in caught.value.found
    with pytest.raises(NetError, match="--image-shape"):
        build(FED)
