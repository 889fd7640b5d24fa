"""caffe.Net: names, passes in whole and in part, weights; after Caffe's test_net.py and _caffe.cpp."""

from __future__ import annotations

import functools
import operator
from pathlib import Path

import numpy as np
import pytest
import torch

import rlossctl
from rlossctl.errors import NetError, WeightsError

SMALL = """name: "small" force_backward: true
layer { type: "DummyData" name: "data" top: "data" top: "label" dummy_data_param {
  shape { dim: 5 dim: 2 dim: 3 dim: 4 } shape { dim: 5 }
  data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" } } }
layer { type: "Convolution" name: "conv" bottom: "data" top: "conv" convolution_param { num_output: 7
  kernel_size: 2 pad: 3 weight_filler { type: "gaussian" std: 1 }
  bias_filler { type: "constant" value: 2 } } }
layer { type: "InnerProduct" name: "ip" bottom: "conv" top: "score" inner_product_param { num_output: 6
  weight_filler { type: "gaussian" std: 0.5 } } }
layer { type: "SoftmaxWithLoss" name: "loss" bottom: "score" bottom: "label" top: "loss" }
"""
BRANCHES = """input: "x" input_shape { dim: 2 dim: 3 }
layer { type: "InnerProduct" name: "ip" bottom: "x" top: "y" inner_product_param { num_output: 3
  weight_filler { type: "xavier" } } }
layer { type: "ReLU" name: "relu" bottom: "y" top: "y" }
layer { type: "Power" name: "double" bottom: "y" top: "a" power_param { scale: 2 } }
layer { type: "Power" name: "square" bottom: "y" top: "b" power_param { power: 2 } }
layer { type: "Eltwise" name: "sum" bottom: "a" bottom: "b" top: "sum" }
"""


def test_names_are_caffes(net) -> None:
    small = net(SMALL)
    assert list(small.blobs) == ["data", "label", "conv", "score", "loss"]
    assert small._layer_names == ["data", "conv", "ip", "loss"]
    assert [layer.type for layer in small.layers] == [
        "DummyData",
        "Convolution",
        "InnerProduct",
        "SoftmaxWithLoss",
    ]
    assert small.inputs == [] and small.outputs == ["loss"]
    assert small.bottom_names["loss"] == ["score", "label"] and small.top_names["data"] == ["data", "label"]
    assert small.layer_dict["conv"].blobs is small.params["conv"]
    assert small.blob_loss_weights == {"data": 0, "label": 0, "conv": 0, "score": 0, "loss": 1}
    assert [list(each) for each in small.params.itervalues()] == [
        list(each) for each in small.params.values()
    ]


def test_splits_and_inputs_are_layers_as_in_caffe(net) -> None:
    branches = net(BRANCHES)
    assert branches._layer_names == ["input", "ip", "relu", "y_relu_0_split", "double", "square", "sum"]
    assert list(branches.blobs) == ["x", "y", "y_relu_0_split_0", "y_relu_0_split_1", "a", "b", "sum"]
    assert branches.inputs == ["x"] and branches.outputs == ["sum"]
    branches.forward(x=np.ones((2, 3), np.float32))
    branches.blobs["y"].data[...] = 3
    assert (branches.blobs["y_relu_0_split_1"].data == 3).all(), "a Split's tops are its bottom"


def test_a_pass_is_ours(net, tmp_path: Path) -> None:
    """The same values and gradients as a net of ours, gradients of inner blobs included."""
    found = net("force_backward: true " + BRANCHES)
    ours = rlossctl.load_net(tmp_path / "net.prototxt", phase="TRAIN")
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    for index, blob in enumerate(found.params["ip"]):
        ours.params["ip"][index].data.copy_(torch.from_numpy(blob.data))
    given = torch.tensor(x, requires_grad=True)
    blobs = ours.forward_blobs(x=given)
    blobs["y"].retain_grad()
    blobs["sum"].sum().backward()
    assert np.array_equal(found.forward(blobs=["a"], x=x)["a"], blobs["a"].detach())
    found.backward(sum=np.ones((2, 3), np.float32))
    assert np.allclose(found.blobs["x"].diff, given.grad, atol=1e-6)
    assert np.allclose(
        found.blobs["y_relu_0_split_0"].diff + found.blobs["y_relu_0_split_1"].diff, blobs["y"].grad
    )
    assert np.allclose(found.params["ip"][0].diff, ours.params["ip"][0].grad, atol=1e-6)


def test_an_in_place_layers_blob_shows_the_gradient_before_it(net) -> None:
    """Caffe has one memory for both: what is left is the gradient of the first value of the name."""
    branches = net("force_backward: true " + BRANCHES)
    branches.forward(x=np.array([[-1, 0, 2], [3, -4, 5]], np.float32))
    branches.backward(sum=np.ones((2, 3), np.float32))
    y = branches.blobs["y"]
    assert np.allclose(y.diff, np.where(y.data > 0, 2 + 2 * y.data, 0))


def test_a_part_of_the_net_runs_on_what_the_blobs_hold(net) -> None:
    small = net(SMALL)
    conv, score = small.blobs["conv"], small.blobs["score"]
    conv.data[:] = np.random.default_rng(1).uniform(size=conv.data.shape)
    assert set(small.forward(start="ip", end="ip")) == {"score"}
    weights, bias = (blob.data for blob in small.params["ip"])
    assert np.allclose(score.data, conv.data.reshape(5, -1) @ weights.T + bias, atol=1e-4)
    score.diff[:] = np.random.default_rng(2).uniform(size=score.data.shape)
    assert set(small.backward(start="ip", end="ip")) == {"conv"}
    assert np.allclose(conv.diff.reshape(5, -1), score.diff @ weights, atol=1e-4)
    assert np.allclose(small.params["ip"][0].diff, score.diff.T @ conv.data.reshape(5, -1), atol=1e-3)


def test_gradients_of_weights_add_up_until_they_are_cleared(net) -> None:
    small = net(SMALL)
    small.forward()
    small.backward()
    held = small.params["conv"][0].diff
    once = held.copy()
    small.backward()
    assert np.allclose(held, 2 * once) and once.any()
    small.clear_param_diffs()
    assert not held.any()


def test_a_net_without_losses_has_no_backward_pass_unless_forced(net) -> None:
    """The end of Net::Init: nothing lies under a loss."""
    still = net(BRANCHES)
    still.forward(x=np.ones((2, 3), np.float32))
    still.backward(sum=np.ones((2, 3), np.float32))
    assert not still.blobs["x"].diff.any() and not still.params["ip"][0].diff.any()


def test_labels_get_no_gradient_by_force(net) -> None:
    small = net(SMALL)
    small.forward()
    small.backward()
    loss = small._net.wiring.runs[-1]
    assert loss.down == [True, False] and not small.blobs["label"].diff.any()


def test_propagate_down_keeps_gradients_out(net) -> None:
    text = BRANCHES.replace('name: "double" bottom: "y"', 'name: "double" bottom: "y" propagate_down: false')
    text += 'layer { type: "Reduction" name: "loss" bottom: "sum" top: "loss" loss_weight: 3 }'
    found = net(text)
    found.forward(x=np.ones((2, 3), np.float32))
    found.backward()
    y = found.blobs["y"].data
    assert float(found.blobs["loss"].diff) == 3, "a loss's gradient is its weight"
    assert not found.blobs["y_relu_0_split_0"].diff.any()
    assert np.allclose(found.blobs["y_relu_0_split_1"].diff, 6 * y)


def test_weights_are_saved_loaded_and_shared(net, caffe, tmp_path: Path) -> None:
    first = net(SMALL)
    binary, hdf5 = str(tmp_path / "weights"), str(tmp_path / "weights_h5")
    first.save(binary)
    first.save_hdf5(hdf5)
    model = str(tmp_path / "net.prototxt")
    readers = [
        caffe.Net(model, binary, caffe.TRAIN),
        caffe.Net(model, caffe.TEST, weights=binary),
        caffe.Net(model, binary),
        caffe.Net(network_file=model, phase=caffe.TEST, weights=binary, level=0, stages=None),
        net(SMALL),
    ]
    readers[-1].load_hdf5(hdf5)
    for reader in readers:
        for name, blobs in first.params.items():
            for mine, theirs in zip(blobs, reader.params[name], strict=True):
                assert np.array_equal(mine.data, theirs.data)
    sharer = readers[0]
    sharer.share_with(first)
    first.params["ip"][0].data[...] = 4
    sharer.forward()
    assert (sharer.params["ip"][0].data == 4).all()
    assert sharer.params["ip"][0].diff is not first.params["ip"][0].diff, "gradients are each net's own"


def test_weights_that_do_not_fit_are_refused(net, tmp_path: Path) -> None:
    net(SMALL).save(str(tmp_path / "weights"))
    with pytest.raises(WeightsError):
        net(SMALL.replace("num_output: 6", "num_output: 8"), weights=str(tmp_path / "weights"))
    with pytest.raises(NetError, match="share"):
        net(SMALL.replace("num_output: 6", "num_output: 8")).share_with(net(SMALL))


@pytest.mark.parametrize("given", [("absent.prototxt", 1), ("net.prototxt", "absent.caffemodel", 1)])
def test_a_missing_file_is_a_runtime_error(caffe, tmp_path: Path, monkeypatch, given) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(SMALL)
    with pytest.raises(RuntimeError, match="Could not open file absent"):
        caffe.Net(*given)


def test_level_and_stages_choose_layers(net) -> None:
    text = """layer { name: "data" type: "DummyData" top: "data"
      dummy_data_param { shape { dim: 1 dim: 4 } } }
    layer { name: "all" type: "ReLU" bottom: "data" top: "all" }
    layer { name: "low" type: "ReLU" bottom: "data" top: "low" include { max_level: 0 } }
    layer { name: "high" type: "ReLU" bottom: "data" top: "high" include { min_level: 1 } }
    layer { name: "a" type: "ReLU" bottom: "data" top: "a" include { stage: "A" not_stage: "B" } }"""
    assert net(text, 1).outputs == ["all", "low"]
    assert net(text, 1, level=1).outputs == ["all", "high"]
    assert net(text, 1, stages=["A"]).outputs == ["a", "all", "low"]


def test_rows_in_batches(net) -> None:
    found = net("force_backward: true " + BRANCHES)
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    outputs = found.forward_all(blobs=["a"], x=x)
    assert outputs["sum"].shape == (5, 3) and outputs["a"].shape == (5, 3)
    values, gradients = found.forward_backward_all(diffs=["y"], x=x, sum=np.ones((5, 3), np.float32))
    assert np.array_equal(values["sum"], outputs["sum"]) and gradients["x"].shape == (5, 3)
    weights = found.params["ip"][0].data
    assert np.allclose(gradients["x"], gradients["y"] @ weights, atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [({"z": np.ones((2, 3))}, "do not match net inputs"), ({"x": np.ones((1, 3))}, "not batch sized")],
)
def test_wrong_inputs_are_refused(net, inputs, message) -> None:
    with pytest.raises(Exception, match=message):
        net(BRANCHES).forward(**inputs)


def test_memory_data_takes_arrays(net) -> None:
    text = """layer { name: "data" type: "MemoryData" top: "data" top: "label"
      memory_data_param { batch_size: 2 channels: 1 height: 2 width: 2 } }"""
    found = net(text)
    data, labels = np.arange(16, dtype=np.float32).reshape(4, 1, 2, 2), np.arange(4, dtype=np.float32)
    found.set_input_arrays(data, labels)
    batches = [(found.forward()["label"].tolist(), found.blobs["data"].data[0, 0, 0, 0]) for _ in range(3)]
    assert batches == [([0, 1], 0), ([2, 3], 8), ([0, 1], 0)]
    with pytest.raises(RuntimeError, match="MemoryDataLayer"):
        net(BRANCHES).set_input_arrays(data, labels)


def test_callbacks_run_around_every_layer(net) -> None:
    small, calls = net(SMALL), []
    small.before_forward(lambda layer: calls.append(("before", layer)))
    small.after_forward(lambda layer: calls.append(("after", layer)))
    small.before_backward(lambda layer: calls.append(("back", layer)))
    small.after_backward(lambda layer: calls.append(("done", layer)))
    small.forward(start="ip", end="loss")
    assert calls == [("before", 2), ("after", 2), ("before", 3), ("after", 3)]
    calls.clear()
    small.backward(end="ip")
    assert calls == [("back", 3), ("done", 3), ("back", 2), ("done", 2)]


def test_forward_by_number_returns_the_loss(net) -> None:
    small = net(SMALL)
    assert small._forward(0, 3) == pytest.approx(float(small.blobs["loss"].data))
    assert small._forward(0, 2) == 0


def test_blobs_outlive_their_net(net) -> None:
    small = net(SMALL)
    blobs = [*small.blobs.values(), *functools.reduce(operator.iadd, map(list, small.params.values()), [])]
    small.forward()
    del small
    assert np.isfinite(sum(blob.data.sum() + blob.diff.sum() for blob in blobs))


def test_a_forks_net_has_its_inputs_without_a_layer(net) -> None:
    """Before BVLC's Input layer a net's inputs were no layer."""
    text = 'input: "x" input_shape { dim: 1 dim: 2 dim: 4 dim: 4 } '
    text += 'layer { name: "up" type: "Interp" bottom: "x" top: "up" interp_param { zoom_factor: 2 } }'
    found = net(text, 1)
    assert found._net.dialect == "rloss" and found._layer_names == ["up"] and found.inputs == ["x"]
    assert found.forward(x=np.ones((1, 2, 4, 4)))["up"].shape == (1, 2, 7, 7)


def test_a_net_of_2014_prepares_its_images(net, tmp_path: Path) -> None:
    """Its methods are a Transformer's, with the transposition that there was."""
    np.save(tmp_path / "mean.npy", np.arange(18.0).reshape(2, 3, 3))
    found = net(
        'input: "data" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 3 '
        'layers { name: "r" type: RELU bottom: "data" top: "r" }',
        1,
    )
    found.set_phase_test()
    found.set_mode_cpu()
    found.set_mean("data", str(tmp_path / "mean.npy"), mode="channel")
    found.set_raw_scale("data", 255)
    found.set_channel_swap("data", (1, 0))
    image = np.linspace(0, 1, 18, dtype=np.float32).reshape(3, 3, 2)
    expected = image.transpose(2, 0, 1)[::-1] * 255 - np.array([4.0, 13])[:, None, None]
    prepared = found.preprocess("data", image.copy())
    assert np.allclose(prepared, expected, atol=1e-4)
    assert np.allclose(found.deprocess("data", prepared), image, atol=1e-6)
    with pytest.raises(NetError, match="phase cannot be changed"):
        found.set_phase_train()


@pytest.mark.parametrize("given", [((1, 0, [], None, 5), {}), ((1,), {"engine": "MKL"})])
def test_other_arguments_are_a_type_error(caffe, given) -> None:
    with pytest.raises(TypeError, match="Net takes"):
        caffe.Net("net.prototxt", *given[0], **given[1])
