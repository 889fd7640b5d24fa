"""Layers that only move values, against numpy; and the shapes they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError

SHAPE = (2, 12, 3, 5)


def numbers(shape=SHAPE) -> torch.Tensor:
    return torch.arange(float(np.prod(shape))).reshape(shape)


def moves(net, x: torch.Tensor, expected: np.ndarray) -> None:
    """Each value arrives where expected, and its gradient comes back from there."""
    y = net(a=x.requires_grad_())["t0"]
    assert np.array_equal(y.detach().numpy(), expected)
    (grad,) = torch.autograd.grad((y * y).sum() / 2, x)
    assert torch.equal(grad, x)


@pytest.mark.proves("Permute", "permute_param { order: 0 order: 2 }", gradient=True)
def test_permute_appends_the_axes_that_order_leaves_out(layer):
    x = numbers()
    order = "permute_param { order: 0 order: 2 }"
    moves(layer("Permute", order, SHAPE), x, x.numpy().transpose(0, 2, 1, 3))


@pytest.mark.proves("PixelShuffle", "pixel_shuffle_param { upscale_factor: 2 }", gradient=True)
def test_pixel_shuffle_fills_blocks_row_by_row(layer):
    x = numbers()
    expected = np.zeros((2, 3, 6, 10), np.float32)
    for row in range(2):
        for column in range(2):
            expected[:, :, row::2, column::2] = x[:, 2 * row + column :: 4]
    moves(layer("PixelShuffle", "pixel_shuffle_param { upscale_factor: 2 }", SHAPE), x, expected)


@pytest.mark.proves("ShuffleChannel", "shuffle_channel_param { group: 3 }", gradient=True)
def test_shuffle_channel_interleaves_its_groups(layer):
    x = numbers()
    expected = x.numpy()[:, [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]]
    moves(layer("ShuffleChannel", "shuffle_channel_param { group: 3 }", SHAPE), x, expected)


@pytest.mark.proves("Split", "", gradient=True)
def test_split_adds_its_gradients_up(layer):
    x = numbers().requires_grad_()
    tops = layer("Split", "", SHAPE, tops=3)(a=x)
    (tops["t0"] + 2 * tops["t1"] + 3 * tops["t2"]).sum().backward()
    assert torch.equal(tops["t1"], x) and x.grad.unique().tolist() == [6]


def test_slice_dim_is_axis_by_its_old_name(layer):
    tops = layer("Slice", "slice_param { slice_dim: 2 }", SHAPE, tops=3)(a=numbers())
    assert all(torch.equal(tops[f"t{row}"], numbers()[:, :, row : row + 1]) for row in range(3))


def test_reshape_places_its_axes_anywhere(layer):
    shapes = {
        "shape { dim: 0 dim: -1 }": (2, 180),
        "shape { dim: 1 dim: 1 } axis: -1 num_axes: 0": (*SHAPE, 1, 1),
        "shape { dim: 3 dim: 4 } axis: 1 num_axes: 1": (2, 3, 4, 3, 5),
        "axis: 2 shape { dim: 15 }": (2, 12, 15),
    }
    for fields, shape in shapes.items():
        net = layer("Reshape", f"reshape_param {{ {fields} }}", SHAPE)
        assert tuple(net(a=numbers())["t0"].shape) == shape == net.shapes["t0"], fields


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("Slice", "slice_param { axis: 1 slice_dim: 1 }", "both axis and slice_dim"),
        ("Slice", "slice_param { slice_point: 5 slice_point: 5 }", "must ascend"),
        ("Slice", "slice_param { slice_point: 5 }", "one fewer than tops"),
        ("Slice", "slice_param { slice_point: 5 slice_point: 12 }", "inside the axis"),
        ("Slice", "slice_param { axis: 3 }", "equal parts"),
        ("Flatten", "flatten_param { axis: 2 end_axis: 1 }", "before axis"),
        ("Reshape", "reshape_param { shape { dim: -1 dim: -1 } }", "at most one -1"),
        ("Reshape", "reshape_param { shape { dim: 7 } }", "cannot take"),
        ("Reshape", "reshape_param { shape { dim: 1 } axis: 5 }", "beyond the bottom"),
        ("Reshape", "reshape_param { shape { dim: 2 dim: 180 dim: 1 dim: 1 dim: 0 } }", "no axis to copy"),
        ("Tile", "", "tiles must be positive"),
        ("Permute", "permute_param { order: 1 order: 1 }", "at most once"),
        ("Permute", "permute_param { order: 4 }", "axes below 4"),
        ("PixelShuffle", "", "upscale_factor"),
        ("PixelShuffle", "pixel_shuffle_param { upscale_factor: 5 }", "squared"),
        ("ShuffleChannel", "shuffle_channel_param { group: 5 }", "divide the channels"),
        ("Reduction", "reduction_param { axis: 4 }", "axis out of range"),
    ],
)
def test_impossible_parameters_are_refused(layer, kind, fields, message):
    with pytest.raises(NetError, match=message):
        layer(kind, fields, SHAPE, tops=3 if kind == "Slice" else 1)


@pytest.mark.parametrize(
    ("fields", "reference", "message"),
    [
        ("", (1, 1, 4, 1), "is not inside"),
        ("crop_param { offset: 1 }", (1, 1, 3, 1), "is not inside"),
        ("", (3, 5), "is not inside"),
        ("crop_param { offset: 1 offset: 1 offset: 1 }", (1, 1, 1, 1), "once per cropped axis"),
    ],
)
def test_crop_stays_inside_bottom_0(layer, fields, reference, message):
    with pytest.raises(NetError, match=message):
        layer("Crop", fields, SHAPE, reference)


@pytest.mark.proves("AutoCrop", "", gradient=True)
def test_auto_crop_of_rcf_begins_where_the_coordinates_say(build):
    text = (
        'input: "x" input: "w" input_shape { dim: 1 dim: 1 dim: 6 dim: 8 }\n'
        "input_shape { dim: 1 dim: 1 dim: 6 dim: 8 }\n"
        'layer { name: "c" type: "Convolution" bottom: "x" top: "c"\n'
        "convolution_param { num_output: 1 kernel_size: 3 pad: 3 } }\n"
        'layer { name: "l" type: "AutoCrop" bottom: "c" bottom: "%s" top: "t" }'
    )
    net = build(text % "x")
    with torch.no_grad():
        net.params["c"][0].zero_()[0, 0, 1, 1] = 1  # the window's middle
    x = torch.randn(1, 1, 6, 8, requires_grad=True)
    top = net(x=x, w=x)["t"]
    top.sum().backward()
    assert torch.equal(top, x) and (x.grad == 1).all()
    with pytest.raises(NetError, match="its offset cannot be computed from coordinates"):
        build(text % "w")


def darknet(x: np.ndarray, stride: int, forward: bool) -> np.ndarray:
    """reorg_cpu of darknet, one value after the other."""
    count, channels, height, width = x.shape
    out, flat = np.zeros(x.size, x.dtype), x.ravel()
    inner = channels // stride**2
    for b, k, j, i in np.ndindex(count, channels, height, width):
        inside = i + width * (j + height * (k + channels * b))
        row, column = j * stride + k // inner // stride, i * stride + k // inner % stride
        outside = column + width * stride * (row + height * stride * (k % inner + inner * b))
        if forward:
            out[outside] = flat[inside]
        else:
            out[inside] = flat[outside]
    return out


@pytest.mark.proves("Reorg", "reorg_param { stride: 2 reverse: true }", gradient=True)
@pytest.mark.parametrize("reverse", [False, True])
def test_reorg_in_the_order_of_darknet(layer, reverse):
    x = numbers((2, 8, 4, 6))
    net = layer("Reorg", f"reorg_param {{ stride: 2 reverse: {str(reverse).lower()} }}", tuple(x.shape))
    shape = (2, 2, 8, 12) if reverse else (2, 32, 2, 3)
    moves(net, x, darknet(x.numpy(), 2, reverse).reshape(shape))


@pytest.mark.parametrize("shape", [(1, 6, 4, 4), (1, 8, 3, 4)])
def test_reorg_needs_sizes_that_divide(layer, shape):
    with pytest.raises(NetError, match="must"):
        layer("Reorg", "reorg_param { stride: 2 }", shape)
