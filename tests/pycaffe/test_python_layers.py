"""Python layers in nets that a script makes: their code sees the net's own blobs (test_python_layer.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlossctl.errors import NetError

MODULE = """
import caffe


class Ten(caffe.Layer):
    def setup(self, bottom, top):
        self.calls = []

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        self.calls.append("forward")
        top[0].data[...] = 10 * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.calls.append(list(propagate_down))
        bottom[0].diff[...] = 10 * top[0].diff


class Times(Ten):
    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.blobs.add_blob(1)
        self.blobs[0].data[0] = float(self.param_str)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data[0] * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[0] += (top[0].diff * bottom[0].data).sum()
        bottom[0].diff[...] = self.blobs[0].data[0] * top[0].diff


class Counter(caffe.Layer):
    def setup(self, bottom, top):
        self.next = 0

    def reshape(self, bottom, top):
        top[0].reshape(3)
        top[1].reshape()

    def forward(self, bottom, top):
        top[0].data[...] = range(self.next, self.next + 3)
        top[1].data[()] = self.phase
        self.next += 3

    def backward(self, top, propagate_down, bottom):
        pass


class Loss(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = (bottom[0].data ** 2).sum() / 2

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * bottom[0].data


class OfAnotherAge(Ten):
    def __init__(self, p_object, *args, **kwargs):
        super().__init__(p_object, *args, **kwargs)
        self.given = p_object

    def setup(self, bottom, top):
        super().setup(bottom, top)
        self.layer_params = eval(self.param_str_)


class Broken(caffe.Layer):
    def setup(self, bottom, top):
        raise RuntimeError("in setup")
"""
THREE = 'force_backward: true input: "x" input_shape { dim: 2 dim: 3 }' + "".join(
    f'layer {{ type: "Python" name: "{top}" bottom: "{bottom}" top: "{top}" '
    'python_param { module: "mylayers" layer: "Ten" } }'
    for bottom, top in (("x", "a"), ("a", "b"), ("b", "c"))
)


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caffe) -> None:
    (tmp_path / "mylayers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


def test_forward_backward_and_new_shapes(net) -> None:
    found = net(THREE)
    found.blobs["c"].diff[...] = 7
    found.backward()
    assert (found.blobs["x"].diff == 7000).all(), "no forward pass is needed before"
    found.blobs["x"].reshape(4, 4, 4)
    found.blobs["x"].data[...] = 8
    found.forward()
    assert (found.blobs["c"].data == 8000).all() and found.blobs["b"].data.shape == (4, 4, 4)


def test_layers_are_the_users_objects(net) -> None:
    found = net(THREE)
    layer = found.layers[found._layer_names.index("a")]
    assert type(layer).__name__ == "Ten" and layer.type == "Python"
    found.forward(x=np.ones((2, 3)))
    found.backward()
    assert layer.calls == ["forward", [True]]


def test_constructors_and_names_of_other_ages(net) -> None:
    """py-faster-rcnn reads param_str_; Caffe gives a constructor the layer's message."""
    found = net(THREE.replace('"Ten"', '"OfAnotherAge" param_str: "{\'feat_stride\': 16}"', 1))
    layer = found.layer_dict["a"]
    assert layer.layer_params == {"feat_stride": 16} and layer.given.name == "a"
    assert (found.forward(x=np.ones((2, 3)))["c"] == 1000).all()


def test_learned_blobs_are_the_nets(net, caffe, tmp_path) -> None:
    text = THREE + 'layer { type: "Python" name: "t" bottom: "c" top: "t" python_param { module: "mylayers" '
    text += 'layer: "Times" param_str: "3" } }'
    found = net(text)
    layer = found.layer_dict["t"]
    assert layer.blobs[0] is found.params["t"][0] and layer.blobs[0].data[0] == 3
    found.forward(x=np.ones((2, 3)))
    found.blobs["t"].diff[...] = 1
    found.backward()
    assert layer.blobs[0].diff[0] == 6000 and (found.blobs["x"].diff == 3000).all()
    layer.blobs[0].data[0] -= 1
    assert (found.forward(x=np.ones((2, 3)))["t"] == 2000).all()
    file = str(tmp_path / "w")
    found.save(file)
    layer.blobs[0].data[0] = -1
    found.copy_from(file)
    assert layer.blobs[0].data[0] == 2
    other = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    other.share_with(found)
    layer.blobs[0].data[0] = 9
    assert other.layer_dict["t"].blobs[0].data[0] == 9


@pytest.mark.parametrize("phase", [0, 1])
def test_a_data_layer_draws_and_knows_its_phase(net, phase) -> None:
    found = net(
        'layer { type: "Python" name: "count" top: "n" top: "phase" '
        'python_param { module: "mylayers" layer: "Counter" } }',
        phase,
    )
    assert [found.forward()["n"].tolist() for _ in range(2)] == [[0, 1, 2], [3, 4, 5]]
    assert found.blobs["phase"].data == phase
    found.layers[0].next = 0
    assert found.forward()["n"].tolist() == [0, 1, 2], "the object in net.layers is the one that runs"


def test_exceptions_of_the_users_code_come_through(net, tmp_path) -> None:
    with pytest.raises(RuntimeError, match=r"^in setup$"):
        net(THREE.replace('layer: "Ten" } }layer', 'layer: "Broken" } }layer', 1))
    with pytest.raises(ModuleNotFoundError, match="absent"):
        net(THREE.replace('module: "mylayers"', 'module: "absent"', 1))


def test_a_solver_trains_through_python_layers(caffe, tmp_path, monkeypatch) -> None:
    """A Python layer that learns below a Python loss: w x, loss (w x)^2 / 2, so w falls by lr w x^2."""
    monkeypatch.chdir(tmp_path)
    layer = 'layer {{ type: "Python" name: "{0}" {1} {4} '
    layer += 'python_param {{ module: "mylayers" layer: "{2}" {3} }} }}'
    Path("net.prototxt").write_text(
        'layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 } '
        "data_filler { value: 2 } } }"
        + layer.format("t", 'bottom: "x" top: "t"', "Times", 'param_str: "3"', "")
        + layer.format("loss", 'bottom: "t" top: "loss"', "Loss", "", "loss_weight: 1")
    )
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 2 snapshot_prefix: "s"'
    )
    solver = caffe.SGDSolver("solver.prototxt")
    solver.step(1)
    assert solver.net.blobs["loss"].data[0] == 18
    assert solver.net.params["t"][0].data[0] == pytest.approx(3 - 0.1 * 3 * 4)
    solver.step(1)
    assert solver.net.params["t"][0].data[0] == pytest.approx(1.8 * (1 - 0.4))


def test_without_the_name_caffe_there_is_no_consent(net, monkeypatch) -> None:
    """`import rlossctl.pycaffe as caffe` alone runs no modules that a prototxt names."""
    import sys

    monkeypatch.delitem(sys.modules, "caffe")
    with pytest.raises(NetError, match="would run a program"):
        net(THREE)
