"""Small rules of single layers that the recordings do not reach, and the errors of their constructors."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rlossctl.errors import NetError
from rlossctl.net.labels import flatten_labels
from rlossctl.net.layer import Layer

X = 'input: "x" input_shape { dim: 2 dim: 4 dim: 6 dim: 7 }\n'
Y = 'input: "y" input_shape { dim: 2 dim: 4 dim: 6 dim: 7 }\n'
Z = 'input: "z" input_shape { dim: 2 dim: 4 dim: 6 dim: 7 }\n'


def layer(kind: str, rest: str = "", bottoms: str = "x", tops: str = "out") -> str:
    names = "".join(f'bottom: "{name}" ' for name in bottoms) + "".join(
        f'top: "{name}" ' for name in tops.split()
    )
    return f'layer {{ name: "l" type: "{kind}" {names} {rest} }}\n'


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (X + layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 pad: 1 }"), "no padding"),
        (X + layer("Pooling", "pooling_param { kernel_size: 2 pad: 2 }"), "pad must be smaller"),
        (X + layer("Pooling"), "needs kernel_size"),
        (X + layer("Pooling", "pooling_param { kernel_size: 2 stride: 0 }"), "stride must be positive"),
        (X + layer("Pooling", "pooling_param { kernel_h: 2 }"), "kernel_h and kernel_w"),
        (X + layer("Pooling", "pooling_param { kernel_h: 2 kernel_w: 2 kernel_size: 2 }"), "excludes"),
        (X + layer("Pooling", "pooling_param { pool: AVE kernel_size: 2 }", tops="out mask"), "only for MAX"),
        (
            'input: "x" input_shape { dim: 2 dim: 4 }\n'
            + layer("Pooling", "pooling_param { kernel_size: 2 }"),
            "4-D",
        ),
        (X + layer("Convolution", "convolution_param { num_output: 3 }"), "kernel_size"),
        (X + layer("Convolution", "convolution_param { kernel_size: 3 }"), "num_output"),
        (X + layer("Convolution", "convolution_param { num_output: 3 kernel_size: 3 group: 2 }"), "group"),
        (X + layer("Convolution", "convolution_param { num_output: 4 kernel_size: 3 stride_h: 2 }"), "both"),
        (X + layer("Convolution", "convolution_param { num_output: 4 kernel_size: 9 }"), "cannot take"),
        (
            X + Y + layer("Convolution", "convolution_param { num_output: 4 kernel_size: 1 }", "xy"),
            "a top for",
        ),
        (X + layer("Dropout", "dropout_param { dropout_ratio: 1 }"), "between 0 and 1"),
        (
            'input: "x" input_shape { dim: 2 dim: 4 }\n'
            + layer("Dropout", "dropout_param { whole_channels: true }"),
            "4-D",
        ),
        (X + layer("Softmax", "softmax_param { axis: 4 }"), "axis out of range"),
        (X + layer("Concat", "concat_param { axis: 1 concat_dim: 1 }"), "both axis and concat_dim"),
        (X + layer("Eltwise"), "wrong number of bottom"),
        (X + Y + layer("Eltwise", "eltwise_param { coeff: 1 }", "xy"), "once per bottom"),
        (
            X + Y + layer("Eltwise", "eltwise_param { operation: PROD coeff: 1 coeff: 2 }", "xy"),
            "not for PROD",
        ),
        (X + Y.replace("dim: 7", "dim: 8") + layer("Eltwise", "", "xy"), "the same shape"),
        (X + layer("Interp"), "needs shrink_factor"),
        (X + layer("Interp", "interp_param { zoom_factor: 2 pad_beg: 1 }"), "only crop"),
        (X + layer("Interp", "interp_param { zoom_factor: 0 }"), "positive"),
        (X + layer("Interp", "interp_param { zoom_factor: 2 align_corners: false }"), "height and width"),
        (X + Y + layer("Interp", "interp_param { zoom_factor: 2 }", "xy"), "already has a size"),
        (X + layer("Scale", "scale_param { axis: 1 num_axes: 4 }"), "beyond the bottom"),
        (X + layer("Scale", "scale_param { axis: 5 }"), "axis out of range"),
        (X + Y + layer("Scale", "scale_param { axis: 1 }", "xy"), "does not fit"),
        (X + layer("BatchNorm", "batch_norm_param { update_global_stats: true }"), "update_global_stats"),
        (
            X + 'input: "t" input_shape { dim: 2 dim: 1 dim: 6 dim: 7 }\n'
            'layer { name: "l" type: "Accuracy" bottom: "x" bottom: "t" top: "a" '
            "accuracy_param { top_k: 5 } }",
            "top_k exceeds",
        ),
    ],
)
def test_impossible_layers_are_refused_with_their_place(build, text, message):
    with pytest.raises(NetError, match=message) as caught:
        build(text)
    assert "layer 'l' (" in str(caught.value)
    assert caught.value.where.startswith("net.prototxt:")


@pytest.mark.parametrize(
    ("kind", "bottoms", "expected"),
    [
        ("ReLU", "xy", "1"),
        ("SoftmaxWithLoss", "x", "2"),
        ("SegAccuracy", "x", "2"),
        ("Scale", "xyz", "1 to 2"),
    ],
)
def test_wrong_number_of_bottoms(build, kind, bottoms, expected):
    with pytest.raises(NetError, match="wrong number of bottom") as caught:
        build(X + Y + Z + layer(kind, "", bottoms))
    assert (caught.value.found, caught.value.expected) == (len(bottoms), expected)


def test_dropout_drops_in_train_and_scales_what_stays(build):
    torch.manual_seed(0)
    text = X + layer("Dropout", "dropout_param { dropout_ratio: 0.25 }")
    x = torch.ones((2, 4, 60, 70))
    kept = build(text, "TRAIN")(x=x)["out"]
    assert sorted(kept.unique().tolist()) == pytest.approx([0, 1 / 0.75])
    assert (kept == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert torch.equal(build(text, "TEST")(x=x)["out"], x)


def test_dropout_of_whole_channels(build):
    torch.manual_seed(0)
    text = X + layer("Dropout", "dropout_param { dropout_ratio: 0.25 whole_channels: true }")
    x = torch.ones((2, 400, 3, 7))
    kept = build(text, "TRAIN")(x=x)["out"]
    means = kept.mean((2, 3))  # of channels, each dropped or kept as one
    assert sorted(means.unique().tolist()) == pytest.approx([0, 1 / 0.75])
    assert (means == 0).float().mean().item() == pytest.approx(0.25, abs=0.06)
    assert torch.equal(build(text, "TEST")(x=x)["out"], x)


def test_a_layers_own_phase_outranks_the_nets(build):
    net = build(X + layer("Dropout", "phase: TEST"), "TRAIN")
    x = noise(2, 4, 6, 7)
    assert torch.equal(net(x=x)["out"], x)


def test_batchnorm_in_train_updates_its_sums_as_caffe_does(build):
    net = build(
        X + layer("BatchNorm", "batch_norm_param { moving_average_fraction: 0.9 eps: 0.01 }"), "TRAIN"
    )
    x = noise(2, 4, 6, 7) * 3 + 5
    y = net(x=x)["out"]
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    expected = (x - mean[:, None, None]) / (variance[:, None, None] + 0.01).sqrt()
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    net(x=x)
    count = 2 * 6 * 7
    sums, variances, scale = net.params["l"]
    torch.testing.assert_close(scale, torch.tensor([1.9]))
    torch.testing.assert_close(sums, 1.9 * mean)
    torch.testing.assert_close(variances, 1.9 * variance * count / (count - 1))


def test_batchnorm_in_test_and_with_global_stats_changes_nothing(build):
    for text, phase in ((layer("BatchNorm"), "TEST"), (layer("BatchNorm", GLOBAL), "TRAIN")):
        net = build(X + text, phase)
        with torch.no_grad():
            for blob, value in zip(net.params["l"], (2.0, 8.0, 2.0), strict=True):
                blob.fill_(value)
        x = noise(2, 4, 6, 7)
        torch.testing.assert_close(net(x=x)["out"], (x - 1) / (4 + 1e-5) ** 0.5)
        assert [blob.unique().item() for blob in net.params["l"]] == [2, 8, 2]


GLOBAL = "batch_norm_param { use_global_stats: true }"


def test_building_batchnorm_leaves_its_statistics_alone(build):
    """The shapes come from a forward on meta tensors, which must not count as a batch."""
    assert [blob.abs().sum().item() for blob in build(X + layer("BatchNorm")).params["l"]] == [0, 0, 0]


def test_eltwise_max_gives_ties_to_bottom_1_and_later_bottoms_only_if_greater(build):
    net = build(X + Y + Z + layer("Eltwise", "eltwise_param { operation: MAX }", "xyz"))
    x, y, z = (torch.zeros((2, 4, 6, 7), requires_grad=True) for _ in range(3))
    with torch.no_grad():
        x[0, 0, 0, 0] = z[0, 0, 0, 1] = 1
    net(x=x, y=y, z=z)["out"].sum().backward()
    assert x.grad.sum() == 1 and x.grad[0, 0, 0, 0] == 1
    assert z.grad.sum() == 1 and z.grad[0, 0, 0, 1] == 1
    assert y.grad.sum() == x.numel() - 2


def test_silence_reads_and_gives_nothing(build):
    net = build(X + layer("ReLU") + 'layer { name: "s" type: "Silence" bottom: "out" }')
    assert net.outputs == [] and net(x=noise(2, 4, 6, 7)) == {}


def test_pooling_windows_beyond_the_image_give_the_lowest_float(build):
    """Without padding Caffe lets a window start outside when the stride exceeds the kernel."""
    net = build(
        'input: "x" input_shape { dim: 1 dim: 1 dim: 4 dim: 4 }\n'
        + layer("Pooling", "pooling_param { kernel_size: 1 stride: 2 }")
    )
    y = net(x=torch.arange(16.0).reshape(1, 1, 4, 4))["out"]
    assert y.shape == (1, 1, 3, 3)
    assert y[0, 0, :2, :2].tolist() == [[0, 2], [8, 10]] and y[0, 0, 2, 2] == torch.finfo(torch.float32).min


def test_interp_reads_its_fields_in_caffes_order(build):
    """zoom_factor outranks height and width; shrink comes before zoom."""
    x = noise(2, 4, 6, 7)
    sizes = {
        "zoom_factor: 2 height: 20 width: 20": (11, 13),
        "shrink_factor: 2 zoom_factor: 3": (7, 10),
        "shrink_factor: 3": (2, 3),
        "height: 20 width: 21": (20, 21),
        "zoom_factor: 2 pad_beg: -1 pad_end: -2": (5, 7),
    }
    for fields, size in sizes.items():
        net = build(X + layer("Interp", f"interp_param {{ {fields} }}"))
        y = net(x=x)["out"]
        assert tuple(y.shape[2:]) == size == net.shapes["out"][2:], fields
    cropped = F.interpolate(x[..., 1:4, 1:5], size=(5, 7), mode="bilinear", align_corners=True)
    torch.testing.assert_close(y, cropped)


@pytest.mark.parametrize("corners", [True, False])
def test_interp_takes_the_size_of_a_second_bottom(build, corners):
    """And aligns corners or edges, as torch's two bilinear modes do; the size's bottom gets no gradient."""
    text = X + 'input: "y" input_shape { dim: 1 dim: 1 dim: 9 dim: 5 }\n'
    net = build(text + layer("Interp", f"interp_param {{ align_corners: {str(corners).lower()} }}", "xy"))
    x, y = noise(2, 4, 6, 7).requires_grad_(), noise(1, 1, 9, 5).requires_grad_()
    out = net(x=x, y=y)["out"]
    expected = F.interpolate(x, size=(9, 5), mode="bilinear", align_corners=corners)
    assert torch.equal(out, expected) and net.shapes["out"] == (2, 4, 9, 5)
    found = torch.autograd.grad(out.square().sum(), (x, y), allow_unused=True)
    assert torch.equal(found[0], torch.autograd.grad(expected.square().sum(), x)[0]) and found[1] is None


def test_seg_accuracy_refuses_unknown_labels(build):
    text = (
        X + 'input: "t" input_shape { dim: 2 dim: 1 dim: 6 dim: 7 }\n'
        'layer { name: "l" type: "SegAccuracy" bottom: "x" bottom: "t" top: "a" '
        "seg_accuracy_param { ignore_label: 255 } }"
    )
    net = build(text, "TEST")
    with pytest.raises(NetError, match="label ids out of range") as caught:
        net(x=noise(2, 4, 6, 7), t=torch.full((2, 1, 6, 7), 4.0))
    assert caught.value.found == "4"
    empty = net(x=noise(2, 4, 6, 7), t=torch.full((2, 1, 6, 7), 255.0))["a"]
    assert empty.flatten().tolist() == [0, 0, 1]  # classes that never occur have IoU 1


def test_metrics_follow_the_input_size(build):
    text = (
        'input: "x" input_shape { dim: 1 dim: 4 dim: 6 dim: 7 }\n'
        'input: "t" input_shape { dim: 1 dim: 1 dim: 6 dim: 7 }\n'
        'layer { name: "l" type: "Accuracy" bottom: "x" bottom: "t" top: "a" }'
    )
    net = build(text, "TEST")
    x = noise(3, 4, 5, 9)
    assert net(x=x, t=x.argmax(1, keepdim=True).float())["a"].item() == 1


@pytest.mark.proves("DummyData")
def test_dummy_data_is_filled_and_drawn_anew_at_each_pass(build):
    net = build(
        'layer { name: "d" type: "DummyData" top: "c" top: "u" dummy_data_param {'
        " shape { dim: 2 dim: 3 } data_filler { value: 7 }"
        ' data_filler { type: "uniform" min: 1 max: 2 } } }'
    )
    first, second = net(), net()
    assert first["c"].unique().tolist() == [7] and first["c"].shape == (2, 3)
    assert not torch.equal(first["u"], second["u"]) and 1 <= first["u"].min() <= first["u"].max() <= 2


@pytest.mark.proves("Input")
def test_input_layer_takes_one_shape_for_all_tops_or_one_each(build):
    one = 'layer { name: "i" type: "Input" top: "a" top: "b" input_param { shape { dim: 1 dim: 2 } } }'
    assert build(one).shapes == {"a": (1, 2), "b": (1, 2)}
    two = one.replace("} } }", "} shape { dim: 3 } } }")
    net = build(two)
    assert net.shapes == {"a": (1, 2), "b": (3,)} and net.inputs == ["a", "b"]
    with pytest.raises(NetError, match="one shape, or one per top"):
        build(two.replace('top: "b"', 'top: "b" top: "c"'))


def test_labels_of_any_shape_are_flattened(build):
    module: Layer = build(X + layer("ReLU")).layers[0].module
    labels = flatten_labels(module, torch.tensor([[1.0, 2.7], [0.0, 3.0]]), 2, 2)
    assert labels.tolist() == [[1, 2], [0, 3]] and labels.dtype == torch.int64


def test_interp_of_pspnet_is_bilinear_or_refused(layer):
    fields = 'interp_param {{ zoom_factor: 2 interp_type: "{}" }}'
    assert layer("Interp", fields.format("bilinear"), (1, 1, 3, 3)).shapes["t0"] == (1, 1, 5, 5)
    with pytest.raises(NetError, match="interp_type is not available"):
        layer("Interp", fields.format("nearest_neighbor"), (1, 1, 3, 3))
