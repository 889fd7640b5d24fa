"""`data` and `diff`: views of the memory that the layers compute on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlossctl.net.pycaffe import Blob
from rlossctl.net.storage import Storage

NET = """input: "x" input_shape { dim: 1 dim: 2 dim: 4 dim: 4 }
layer { name: "conv" type: "Convolution" bottom: "x" top: "y" convolution_param { num_output: 2 kernel_size: 3
  pad: 1 weight_filler { type: "constant" value: 1 } } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
layer { name: "drop" type: "Dropout" bottom: "y" top: "d" }
layer { name: "flat" type: "Flatten" bottom: "d" top: "f" }
layer { name: "square" type: "Power" bottom: "f" top: "f" power_param { power: 2 } }"""


@pytest.fixture
def pair(net):
    found = net(NET, 1)
    found.blobs["x"].data[...] = np.random.default_rng(0).standard_normal((1, 2, 4, 4))
    return found


def test_no_look_at_the_data_costs_a_copy(pair) -> None:
    pair.forward()
    for blob in pair.blobs.values():
        assert np.shares_memory(blob.data, blob.data)
        assert blob.data.ctypes.data == blob.tensor().data_ptr()
        assert blob.data.flags.writeable and blob.data.dtype == np.float32
    for blobs, params in zip(pair.params.values(), pair._net.params.values(), strict=True):
        for blob, param in zip(blobs, params, strict=True):
            assert blob.data.ctypes.data == param.data_ptr()


def test_writes_count(pair) -> None:
    before = pair.forward()["f"].copy()
    pair.params["conv"][0].data[0] *= -1
    pair.params["conv"][1].data[:] += 2
    pair.blobs["x"].data[:, 1:, ::2] = 0
    pair.blobs["x"].data += 0.25
    pair.blobs["x"].diff -= 1
    assert (pair.blobs["x"].diff == -1).all()
    after = pair.forward()["f"]
    x, weights = torch.tensor(pair.blobs["x"].data), torch.ones(2, 2, 3, 3)
    weights[0] = -1
    expected = torch.conv2d(x, weights, torch.full((2,), 2.0), padding=1).relu().flatten(1) ** 2
    assert np.allclose(after, expected, atol=1e-4) and not np.allclose(before, after)


def test_a_view_shows_the_next_pass(pair) -> None:
    """As in Caffe, where a blob keeps its memory: also behind an in-place layer, whose bottom it is."""
    view, middle = pair.forward()["f"], pair.blobs["y"].data
    old = view.copy()
    pair.blobs["x"].data[...] *= 3
    pair.forward()
    assert np.allclose(view, 9 * old, rtol=1e-4) and np.array_equal(middle, pair.blobs["y"].data)
    assert (middle >= 0).all()


def test_gradients_are_right_while_views_are_held(net) -> None:
    """An in-place layer overwrites what is looked at, but not what its backward pass reads."""
    found = net("force_backward: true " + NET, 1)
    held = [blob.data for blob in found.blobs.values()]
    for _ in range(2):
        found.blobs["x"].data[...] = np.random.default_rng(1).standard_normal((1, 2, 4, 4))
        found.forward()
    found.blobs["f"].diff[...] = 1
    found.backward()
    x = torch.tensor(held[0].copy(), requires_grad=True)
    (torch.conv2d(x, torch.ones(2, 2, 3, 3), padding=1).relu() ** 2).sum().backward()
    assert np.allclose(found.blobs["x"].diff, x.grad, rtol=1e-4)


def test_other_layers_than_reshaping_ones_have_memory_of_their_own(pair) -> None:
    pair.forward()
    pair.blobs["d"].data[...] = 7
    assert not (pair.blobs["y"].data == 7).any(), "Dropout copies in Caffe, even where it does nothing"


def test_reshape_then_forward(pair) -> None:
    pair.blobs["x"].reshape(3, 2, 5, 6)
    assert not pair.blobs["x"].data.any()
    pair.blobs["x"].data[...] = 1
    pair.reshape()
    assert pair.blobs["f"].shape == (3, 60)
    assert pair.forward()["f"].shape == (3, 60) and pair.blobs["y"].data.max() == 18


def test_a_constant_of_dummy_data_keeps_what_is_written(net) -> None:
    found = net(
        """layer { name: "data" type: "DummyData" top: "c" top: "g" dummy_data_param { shape { dim: 3 }
        data_filler { type: "constant" value: 2 } data_filler { type: "gaussian" std: 1 } } }"""
    )
    assert found.blobs["c"].data.tolist() == [2, 2, 2] and not found.blobs["g"].data.any()
    found.blobs["c"].data[...] = 5
    drawn = found.forward()["g"].copy()
    assert found.blobs["c"].data.tolist() == [5, 5, 5] and (found.forward()["g"] != drawn).all()


def test_a_blob_keeps_its_values_where_their_number_stays() -> None:
    blob = Blob((2, 3))
    blob.data[...] = 1
    view = blob.data
    blob.reshape(3, 2)
    blob.data[0] = 5
    assert view.ravel().tolist() == [5, 5, 1, 1, 1, 1]
    blob.reshape(7)
    assert not blob.data.any() and (blob.num, blob.channels) == (7, 1)


def test_storage_takes_memory_over_unless_it_is_looked_at() -> None:
    storage, new = Storage.zeros(4), torch.arange(4.0)
    storage.take(new)
    assert storage.tensor().data_ptr() == new.data_ptr()
    view = storage.array()[1:]
    storage.take(torch.full((4,), 9.0))
    assert storage.held and view.tolist() == [9, 9, 9] and new.tolist() == [9, 9, 9, 9]
    del view
    assert not storage.held


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays and tensors have their own memory, as on a GPU."""
    monkeypatch.setattr("rlossctl.net.storage.one_memory", lambda device: False)


def test_on_a_gpu_what_is_written_counts_at_the_next_use(apart) -> None:
    storage = Storage.zeros(3)
    view = storage.array()
    view[:] = 5
    assert storage.tensor().tolist() == [5, 5, 5]
    view[:] = 6
    assert storage.tensor().tolist() == [5, 5, 5], "not asked for again, as in Caffe"
    storage.take(torch.ones(3))
    assert view.tolist() == [6, 6, 6] and storage.array().tolist() == [1, 1, 1] == view.tolist()
    storage.add(torch.ones(3))
    assert storage.array().tolist() == [2, 2, 2]
    storage.zero()
    assert not storage.array().any()


def test_on_a_gpu_a_net_does_the_same(apart, net) -> None:
    text = "force_backward: true " + NET
    far = net(text, 1)
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    for blob in far.params["conv"]:
        blob.data[...] += 0.5
    far.forward(x=x)
    far.blobs["y"].data[...] *= 2
    score = far.forward(start="drop")["f"].copy()
    assert np.allclose(score, (2 * relu_of(x)) ** 2, rtol=1e-4)
    far.params["conv"][0].data[...] *= 1  # between the passes: no error of autograd
    far.blobs["f"].diff[...] = 1
    far.backward()
    assert np.allclose(far.blobs["d"].diff.ravel(), 4 * relu_of(x).ravel(), rtol=1e-4)
    assert far.params["conv"][0].diff.any() and far.blobs["x"].diff.any()


def relu_of(x: np.ndarray) -> np.ndarray:
    weights, bias = torch.full((2, 2, 3, 3), 1.5), torch.full((2,), 0.5)
    return torch.conv2d(torch.from_numpy(x), weights, bias, padding=1).relu().numpy().reshape(1, -1)
