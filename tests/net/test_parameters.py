"""Learned blobs: sharing by name, rates, and copying by layer name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError, WeightsError
from rlossctl.net.saved import layer_records
from rlossctl.weights import write_caffemodel

X = 'input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }\n'


def conv(name: str, bottom: str, specs: str = "", outputs: int = 3, rest: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {specs} '
        f"convolution_param {{ num_output: {outputs} kernel_size: 1 "
        f'weight_filler {{ type: "xavier" }} {rest} }} }}\n'
    )


SHARED = 'param { name: "w" %s } param { name: "b" %s }'


def test_blobs_of_one_name_are_one_tensor_with_one_gradient(build):
    net = build(X + conv("a", "x", SHARED % ("", "")) + conv("b", "a", SHARED % ("", "")))
    assert net.params["a"][0] is net.params["b"][0] and net.params["a"][1] is net.params["b"][1]
    assert [(entry.layer, entry.index) for entry in net.learnable] == [("a", 0), ("a", 1)]
    x = torch.ones((2, 3, 4, 5))
    net(x=x)["b"].sum().backward()
    weight, bias = (blob.detach().clone().requires_grad_() for blob in net.params["a"])
    convolve = torch.nn.functional.conv2d
    convolve(convolve(x, weight, bias), weight, bias).sum().backward()
    torch.testing.assert_close(net.params["b"][0].grad, weight.grad)


def test_learnable_lists_owners_in_layer_order_with_their_rates(build):
    net = build(
        X
        + conv("a", "x", "param { lr_mult: 10 decay_mult: 2 } param { lr_mult: 20 decay_mult: 0 }")
        + conv("b", "a", "param { lr_mult: 0 }")
        + conv("c", "b", "", rest="bias_term: false")
    )
    entries = [(entry.layer, entry.index, entry.lr_mult, entry.decay_mult) for entry in net.learnable]
    assert entries == [("a", 0, 10, 2), ("a", 1, 20, 0), ("b", 0, 0, 1), ("b", 1, 1, 1), ("c", 0, 1, 1)]
    net(x=torch.ones((2, 3, 4, 5)))["c"].sum().backward()
    assert net.params["b"][0].grad is None, "lr_mult 0: Caffe computes no gradient"
    assert net.params["b"][1].grad is not None and net.params["a"][0].grad is not None


def test_a_later_sharer_may_set_the_rates(build):
    net = build(X + conv("a", "x", SHARED % ("", "")) + conv("b", "a", SHARED % ("lr_mult: 7", "")))
    assert [entry.lr_mult for entry in net.learnable] == [7, 1]


def test_contradicting_rates_name_both_layers(build):
    specs = SHARED % ("lr_mult: 2", ""), SHARED % ("lr_mult: 3", "")
    with pytest.raises(NetError, match="a different lr_mult in layer 'a'") as caught:
        build(X + conv("a", "x", specs[0]) + conv("b", "a", specs[1]))
    assert (caught.value.found, caught.value.expected) == ("3", "2")
    assert caught.value.where == "net.prototxt:3"


@pytest.mark.parametrize(
    ("mode", "message"), [("STRICT", "its size differs"), ("PERMISSIVE", "its shape differs")]
)
def test_sharing_needs_one_shape(build, mode, message):
    text = (
        'input: "x" input_shape { dim: 2 dim: 4 dim: 4 dim: 5 }\n'
        + conv("a", "x", 'param { name: "w" }', 1, "bias_term: false")
        + conv("b", "x", f'param {{ name: "w" share_mode: {mode} }}', 2, "group: 2 bias_term: false")
    )
    with pytest.raises(NetError, match=message) as caught:
        build(text)
    assert (caught.value.found, caught.value.expected) == ("2x2x1x1", "1x4x1x1")


def test_permissive_sharing_of_one_shape(build):
    text = X + conv("a", "x", 'param { name: "w" }')
    net = build(text + conv("b", "a", 'param { name: "w" share_mode: PERMISSIVE }'))
    assert net.params["a"][0] is net.params["b"][0]


def test_permissive_sharing_still_needs_the_count(build):
    text = X + conv("a", "x", 'param { name: "w" }')
    with pytest.raises(NetError, match="its size differs"):
        build(text + conv("b", "a", 'param { name: "w" share_mode: PERMISSIVE }', 4))


def test_more_specs_than_blobs(build):
    with pytest.raises(NetError, match="more param entries than blobs") as caught:
        build(X + conv("a", "x", "param { } param { } param { }"))
    assert (caught.value.found, caught.value.expected) == (3, 2)


@pytest.fixture
def saved(build, tmp_path):
    """saved(text) writes a net's weights and returns the file."""

    def save(text: str):
        net = build(text)
        with torch.no_grad():
            for blobs in net.params.values():
                for blob in blobs:
                    blob.copy_(torch.arange(blob.numel(), dtype=torch.float32).reshape(blob.shape) + 1)
        path = tmp_path / "w.caffemodel"
        write_caffemodel(path, net.name, layer_records(net))
        return path

    return save


def test_copy_goes_by_layer_name(build, saved):
    path = saved(X + conv("a", "x") + conv("old", "a"))
    net = build(X + conv("a", "x") + conv("new", "a"))
    before = net.params["new"][0].detach().clone()
    assert net.copy_from(path) == (["a"], ["old"])
    assert net.params["a"][0].flatten().tolist() == list(range(1, 10))
    assert torch.equal(net.params["new"][0], before)


def test_wrong_shapes_are_all_listed_and_nothing_is_copied(build, saved):
    path = saved(X + conv("a", "x") + conv("b", "a", outputs=4) + conv("c", "b", rest="bias_term: false"))
    net = build(X + conv("a", "x") + conv("b", "a", outputs=5) + conv("c", "b"))
    before = {name: [blob.detach().clone() for blob in blobs] for name, blobs in net.params.items()}
    with pytest.raises(WeightsError, match="do not fit the net") as caught:
        net.copy_from(path)
    found = caught.value.found
    assert "layer 'b' blob 0: 4x3x1x1 in the file, 5x3x1x1 in the net" in found
    assert "layer 'b' blob 1: 4 in the file, 5 in the net" in found
    assert "layer 'c': 1 blobs in the file, 2 in the net" in found
    assert "'a'" not in found and str(path) == caught.value.where
    for name, blobs in net.params.items():
        assert all(map(torch.equal, blobs, before[name])), name


def test_legacy_four_dimensional_shapes_fit(build, golden):
    """V1 files say (1, 1, 1, n) for a bias and (1, 1, n, k) for an InnerProduct weight."""
    from rlossctl.weights import load_caffemodel

    model = load_caffemodel(golden / "weights" / "v1.caffemodel")
    layers = {layer.name: layer.blobs for layer in model.layers if layer.blobs}
    name, blobs = next((name, blobs) for name, blobs in layers.items() if any(blob.legacy for blob in blobs))
    legacy = [blob for blob in blobs if blob.legacy]
    assert len(legacy[-1].shape) == 4 and legacy[-1].fits(legacy[-1].shape[-1:]), name
    assert not legacy[-1].fits((legacy[-1].shape[-1] + 1,))


def test_copying_into_a_sharer_writes_the_owner(build, saved):
    path = saved(X + conv("b", "x"))
    net = build(X + conv("a", "x", SHARED % ("", "")) + conv("b", "a", SHARED % ("", "")))
    assert net.copy_from(path) == (["b"], [])
    assert net.params["a"][0].flatten().tolist() == list(range(1, 10))


def test_saving_and_copying_back_is_exact(build, tmp_path):
    text = X + conv("a", "x") + conv("b", "a")
    source, target = build(text), build(text)
    path = tmp_path / "w.caffemodel"
    write_caffemodel(path, source.name, layer_records(source))
    target.copy_from(path)
    for name, blobs in source.params.items():
        for left, right in zip(blobs, target.params[name], strict=True):
            np.testing.assert_array_equal(left.detach().numpy(), right.detach().numpy())


def test_what_fits_is_copied_and_the_rest_starts_anew_with_its_reason(build, tmp_path):
    old = build(X + conv("a", "x") + conv("score", "a", outputs=4) + conv("gone", "score"))
    path = tmp_path / "old.caffemodel"
    write_caffemodel(path, "old", layer_records(old))
    net = build(X + conv("a", "x") + conv("score", "a", outputs=2) + conv("added", "score"))
    before = net.params["score"][0].detach().clone()
    fitted = net.copy_fitting(path)
    assert fitted.copied == ("a",) and fitted.ignored == ("gone",)
    assert fitted.anew == {
        "score": "blob 0: 4x3x1x1 in the file, 2x3x1x1 in the net; blob 1: 4 in the file, 2 in the net",
        "added": "not in the file",
    }
    assert torch.equal(net.params["a"][0], old.params["a"][0])
    assert torch.equal(net.params["score"][0], before)


def test_a_layer_with_another_number_of_blobs_starts_anew_as_a_whole(build, tmp_path):
    path = tmp_path / "old.caffemodel"
    old = build(X + conv("a", "x"))
    write_caffemodel(path, "old", layer_records(old))
    net = build(X + conv("a", "x", rest="bias_term: false"))
    assert net.copy_fitting(path).anew == {"a": "2 blobs in the file, 1 in the net"}
    assert not torch.equal(net.params["a"][0], old.params["a"][0])


def test_a_layer_that_shares_all_its_blobs_with_a_copied_one_does_not_start_anew(build, tmp_path):
    path = tmp_path / "old.caffemodel"
    write_caffemodel(path, "old", layer_records(build(X + conv("a", "x"))))
    net = build(X + conv("a", "x", SHARED % ("", "")) + conv("b", "a", SHARED % ("", "")))
    assert net.copy_fitting(path).anew == {}
