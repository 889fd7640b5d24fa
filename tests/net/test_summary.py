"""What inspect says, against counts by hand."""

from __future__ import annotations

import json

import pytest
import torch

import rlossctl
from rlossctl.net.summary import summarize

X = 'input: "x" input_shape { dim: 2 dim: 3 dim: 40 dim: 48 }\n'


def layer(name: str, bottom: str, text: str) -> str:
    return f'layer {{ name: "{name}" bottom: "{bottom}" top: "{name}" {text} }}\n'


def conv(name: str, bottom: str, param: str, specs: str = "") -> str:
    return layer(name, bottom, f'type: "Convolution" {specs} convolution_param {{ {param} }}')


def test_parameters_and_multiply_adds_of_a_convolution(build):
    net = build(X + conv("c", "x", "num_output: 8 kernel_h: 3 kernel_w: 5 stride: 2"))
    summary = summarize(net.draft)
    assert net.shapes["c"] == (2, 8, 19, 22)
    assert summary.parameters == 8 * 3 * 3 * 5 + 8
    assert summary.multiply_adds == 2 * 8 * 19 * 22 * (3 * 3 * 5)
    assert summary.parameter_bytes == 4 * summary.parameters
    assert summary.blob_bytes == 4 * (2 * 3 * 40 * 48 + 2 * 8 * 19 * 22)


def test_groups_and_inner_products(build):
    net = build(
        X
        + conv("c", "x", "num_output: 6 kernel_size: 3 group: 3 bias_term: false")
        + layer("p", "c", 'type: "Pooling" pooling_param { global_pooling: true pool: AVE }')
        + layer("f", "p", 'type: "InnerProduct" inner_product_param { num_output: 10 }')
    )
    by_name = {entry.name: entry for entry in summarize(net.draft).layers}
    assert by_name["c"].parameters == 6 * 1 * 9 and by_name["c"].multiply_adds == 2 * 6 * 38 * 46 * 9
    assert by_name["f"].parameters == 6 * 10 + 10 and by_name["f"].multiply_adds == 2 * 6 * 10
    assert by_name["p"].parameters == 0 and by_name["p"].multiply_adds == 0


def test_receptive_field_and_stride(build):
    """A kernel k at stride s adds (k - 1) s; strides multiply; dilation d makes k to d (k - 1) + 1."""
    net = build(
        X
        + conv("c1", "x", "num_output: 2 kernel_size: 3 pad: 1")
        + layer("p1", "c1", 'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 pad: 1 }')
        + conv("c2", "p1", "num_output: 2 kernel_size: 3 pad: 4 dilation: 4")
        + layer("r", "c2", 'type: "ReLU"')
        + layer("p2", "r", 'type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }')
        + conv("c3", "p2", "num_output: 2 kernel_size: 3")
    )
    fields = {entry.name: (entry.receptive_field, entry.stride) for entry in summarize(net.draft).layers}
    assert fields == {
        "c1": (3, 1),
        "p1": (5, 2),
        "c2": (21, 2),
        "r": (21, 2),
        "p2": (23, 4),
        "c3": (31, 4),
    }


def test_branches_keep_the_larger_field(build):
    net = build(
        X
        + conv("a", "x", "num_output: 2 kernel_size: 3 pad: 1")
        + conv("b", "x", "num_output: 2 kernel_size: 7 pad: 3")
        + 'layer { name: "e" type: "Eltwise" bottom: "a" bottom: "b" top: "e" }\n'
    )
    assert summarize(net.draft).layers[-1].receptive_field == 7


def test_the_field_that_vgg16_and_largefov_are_known_for(build):
    """VGG-16's pool5 sees 212 pixels (conv5_3: 196), the figure of the literature."""
    text, bottom = X, "x"
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        for index in range(1, count + 1):
            text += conv(f"conv{block}_{index}", bottom, "num_output: 1 kernel_size: 3 pad: 1")
            bottom = f"conv{block}_{index}"
        text += layer(f"pool{block}", bottom, 'type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }')
        bottom = f"pool{block}"
    fields = {
        entry.name: entry.receptive_field for entry in summarize(build(text, device="meta").draft).layers
    }
    assert (fields["conv5_3"], fields["pool5"]) == (196, 212)


def test_shared_blobs_count_once(build):
    specs = 'param { name: "w" } param { name: "b" }'
    net = build(
        X
        + conv("a", "x", "num_output: 3 kernel_size: 3 pad: 1", specs)
        + conv("b", "a", "num_output: 3 kernel_size: 3 pad: 1", specs)
    )
    summary = summarize(net.draft)
    assert [entry.shared for entry in summary.layers] == [False, True]
    assert summary.parameters == 3 * 3 * 9 + 3
    assert summary.multiply_adds == 2 * (2 * 3 * 40 * 48 * 27), "work is done twice"


def test_a_summary_needs_no_memory_and_is_json(build):
    text = X.replace("dim: 3", "dim: 1000000") + conv("c", "x", "num_output: 3000000 kernel_size: 1")
    content = json.loads(json.dumps(summarize(build(text, device="meta").draft).as_dict()))
    assert content["parameters"] == 3_000_003_000_000
    assert content["layers"][0]["shapes"] == [[2, 3000000, 40, 48]]
    assert content["layers"][0]["where"] == "net.prototxt:2"


def test_a_summary_does_not_touch_the_net(build):
    net = build(X + layer("n", "x", 'type: "BatchNorm"'), "TRAIN")
    before = [blob.clone() for blob in net.parameters()]
    summarize(net.draft)
    assert all(map(torch.equal, before, net.parameters()))


def test_data_and_label_layers_have_no_field(small):
    summary = summarize(rlossctl.load_net(small, phase="TRAIN", device="meta").draft)
    fields = {entry.name: entry.receptive_field for entry in summary.layers}
    assert fields["data"] is None and fields["shrink"] is None
    assert fields["conv1"] == 3 and fields["pool1"] == 5 and fields["fc8"] == pytest.approx(13)
    assert summary.dialect == "rloss" and "ImageSegData" in summary.dialect_reason


def test_blobs_that_a_layer_shares_within_itself(build):
    """Three blobs of one name, as BatchNorm's may have: they are one tensor."""
    net = build(
        'input: "x" input_shape { dim: 2 dim: 1 } layer { name: "n" type: "BatchNorm" bottom: "x" top: "y"'
        ' param { name: "q" } param { name: "q" } param { name: "q" } }',
        device="meta",
    )
    assert summarize(net.draft).layers[0].type == "BatchNorm"
