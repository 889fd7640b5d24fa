"""Wiring: names, in-place layers, automatic tops, loss weights, propagate_down (Caffe's Net::Init)."""

from __future__ import annotations

import pytest
import torch

from rlossctl.errors import NetError, PrototxtError

X = 'input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }\n'
T = 'input: "t" input_shape { dim: 2 dim: 1 dim: 4 dim: 5 }\n'
CONV = (
    'layer { name: "c" type: "Convolution" bottom: "x" top: "c" '
    'convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: "xavier" } } }\n'
)


def inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "x": torch.randn((2, 3, 4, 5), generator=generator),
        "t": torch.randint(0, 3, (2, 1, 4, 5), generator=generator).float(),
    }


def test_unknown_types_are_listed_together_with_their_lines(build):
    text = (
        X
        + 'layer { name: "a" type: "Foo" bottom: "x" top: "a" }\n'
        + CONV
        + 'layer {\n  name: "b" type: "Bar" bottom: "a" top: "b" }\n'
        + 'layer { name: "d" type: "Foo" bottom: "b" top: "d" }\n'
    )
    with pytest.raises(NetError, match="unknown layer types") as caught:
        build(text)
    found = caught.value.found
    assert "Foo in layer 'a' (net.prototxt:2), 'd' (net.prototxt:6)" in found
    assert "Bar in layer 'b' (net.prototxt:4)" in found
    assert "Convolution" in caught.value.expected


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ('name: "l" type: "ReLU" bottom: "y" top: "l"', "bottom 'y' is not a top of any earlier layer"),
        ('name: "l" type: "ReLU" bottom: "l" top: "l"', "bottom 'l' is not a top"),
        ('name: "l" type: "ReLU" bottom: "c" top: "x"', "top 'x' is already the top of an earlier layer"),
        ('name: "l" type: "Concat" bottom: "x" bottom: "c" top: "c"', "top 'c' is already"),
        ('name: "l" type: "Eltwise" bottom: "x" top: "l"', "wrong number of bottom"),
        ('name: "l" type: "ReLU" bottom: "x" top: "l" top: "m"', "wrong number of top"),
        ('name: "l" type: "ReLU" bottom: "x" top: "l" loss_weight: 1 loss_weight: 1', "once per top"),
        (
            'name: "l" type: "ReLU" bottom: "x" top: "l" propagate_down: 1 propagate_down: 0',
            "once per bottom",
        ),
        (
            'name: "l" type: "Pooling" bottom: "x" top: "l" top: "l" pooling_param { kernel_size: 2 }',
            "named twice",
        ),
    ],
)
def test_wrong_wiring_names_layer_and_line(build, layer, message):
    with pytest.raises(NetError, match=message) as caught:
        build(X + CONV + f"layer {{ {layer} }}\n")
    assert "layer 'l' (" in str(caught.value) and caught.value.where == "net.prototxt:3"


def test_in_place_layers_rebind_the_name_for_those_who_come_later(build):
    net = build(
        X
        + 'layer { name: "early" type: "Softmax" bottom: "x" top: "early" }\n'
        + 'layer { name: "relu" type: "ReLU" bottom: "x" top: "x" }\n'
        + 'layer { name: "late" type: "Softmax" bottom: "x" top: "late" }\n'
    )
    x = inputs()["x"]
    before = x.clone()
    outputs = net(x=x)
    torch.testing.assert_close(outputs["early"], before.softmax(1))
    torch.testing.assert_close(outputs["late"], before.relu().softmax(1))
    assert torch.equal(x, before), "the caller's tensor is not changed"
    torch.testing.assert_close(net.forward_blobs(x=x)["x"], before.relu())


def test_automatic_tops_count_in_the_loss_and_cannot_be_read(build):
    loss = 'layer {{ name: "{0}" type: "SoftmaxWithLoss" bottom: "c" bottom: "t" loss_weight: {1} }}\n'
    net = build(X + T + CONV + loss.format("l1", 2) + loss.format("l2", 0.5))
    named = build(X + T + CONV + loss.format("l1", 2).replace("loss_weight", 'top: "loss" loss_weight'))
    with torch.no_grad():
        for layer in (net, named):
            layer.params["c"][0].fill_(0.1)
    result, reference = net.run(inputs()), named.run(inputs())
    assert net.outputs == [] and list(result.outputs) == []
    assert net.loss_weights == {"(automatic)": 2, "(automatic)#1": 0.5}
    assert result.loss.item() == pytest.approx(2.5 * reference.outputs["loss"].item())
    assert [weight for _, weight in result.losses.values()] == [2, 0.5]


def test_image_seg_data_may_name_fewer_tops_than_it_has(build, tmp_path):
    list_file = tmp_path / "list.txt"
    list_file.write_text("/a.jpg /a.png\n")
    net = build(
        'layer { name: "d" type: "ImageSegData" top: "data" top: "label" '
        f'image_data_param {{ source: "{list_file}" batch_size: 1 label_type: PIXEL }} '
        "transform_param { crop_size: 9 } }\n"
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
        "convolution_param { num_output: 2 kernel_size: 1 } }\n"
    )
    assert net.shapes["data"] == (1, 3, 9, 9)
    assert net(data=torch.zeros(1, 3, 9, 9))["c"].shape == (1, 2, 9, 9)


def test_any_layer_may_have_a_loss_weight(build):
    net = build(X + 'layer { name: "r" type: "ReLU" bottom: "x" top: "r" loss_weight: 3 }\n')
    x = inputs()["x"].requires_grad_()
    result = net.run({"x": x})
    result.loss.backward()
    assert result.loss.item() == pytest.approx(3 * x.relu().sum().item(), rel=1e-6)
    assert torch.equal(x.grad, 3.0 * (x > 0))


def test_a_weighted_blob_counts_before_the_in_place_layer_that_follows(build):
    net = build(
        X
        + 'layer { name: "s" type: "Softmax" bottom: "x" top: "s" loss_weight: 1 }\n'
        + 'layer { name: "z" type: "Scale" bottom: "s" top: "s" scale_param { filler { value: 0 } } }\n'
    )
    assert net.run({"x": inputs()["x"]}).loss.item() == pytest.approx(2 * 4 * 5)


def test_propagate_down_false_cuts_the_gradient(build):
    text = X + T + CONV
    loss = 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "c" bottom: "t" top: "l" %s }\n'
    open_net, closed = build(text + loss % ""), build(text + loss % "propagate_down: 0 propagate_down: 0")
    open_net.run(inputs()).loss.backward()
    assert open_net.params["c"][0].grad.abs().sum() > 0
    result = closed.run(inputs())
    assert not result.loss.requires_grad and result.loss.item() > 0


def test_propagate_down_cuts_one_branch_only(build):
    net = build(
        X
        + CONV
        + CONV.replace('"c"', '"d"')
        + 'layer { name: "e" type: "Eltwise" bottom: "c" bottom: "d" top: "e" loss_weight: 1 '
        "propagate_down: true propagate_down: false }\n"
    )
    net.run({"x": inputs()["x"]}).loss.backward()
    assert net.params["c"][0].grad is not None and net.params["d"][0].grad is None


def test_outputs_are_the_blobs_nobody_reads_in_alphabetical_order(build):
    relu = 'layer {{ name: "{0}" type: "ReLU" bottom: "c" top: "{0}" }}\n'
    net = build(X + T + CONV + relu.format("z") + relu.format("B") + relu.format("a"))
    assert net.outputs == ["B", "a", "t", "z"], "std::set sorts by bytes; an unread input is an output too"
    assert list(net.run(inputs()).outputs) == net.outputs


def test_silence_takes_a_blob_out_of_the_outputs(build):
    net = build(X + T + CONV + 'layer { name: "s" type: "Silence" bottom: "t" }\n')
    assert net.outputs == ["c"]
    assert list(net(**inputs())) == ["c"]


def test_rules_choose_layers_by_phase(build):
    text = X + CONV + 'layer { name: "r" type: "ReLU" bottom: "c" top: "r" include { phase: TEST } }\n'
    assert build(text, "TRAIN").outputs == ["c"] and build(text, "TEST").outputs == ["r"]
    with pytest.raises(PrototxtError, match="include and exclude"):
        build(text.replace("include", "exclude { phase: TRAIN } include"))


def test_an_unknown_type_that_the_phase_leaves_out_does_no_harm(build):
    text = X + CONV + 'layer { name: "p" type: "Python" bottom: "c" top: "p" include { phase: TEST } }\n'
    assert build(text, "TRAIN").outputs == ["c"]


def test_inputs_are_checked_by_name(build):
    net = build(X + T + CONV)
    with pytest.raises(NetError, match="does not take the input 'image'"):
        net(image=torch.zeros(1))
    with pytest.raises(NetError, match="needs the input 't'") as caught:
        net(x=inputs()["x"])
    assert caught.value.expected == "t, x"


def test_until_runs_only_what_is_needed(build):
    net = build(X + T + CONV + 'layer { name: "r" type: "ReLU" bottom: "c" top: "r" }\n')
    result = net.run(inputs(), until=["c"])
    assert "c" in result.blobs and "r" not in result.blobs
    kept = net.run(inputs())
    assert set(kept.blobs) == {"r", "t"}, "a blob is dropped after its last reader"
