"""Resize of many forks against the loops of their sources, one value after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError, PrototxtError

SHAPE = (2, 3, 5, 7)
SQUARE = (1, 2, 6, 6)


def bilinear(x: np.ndarray, height: int, width: int, step: tuple[float, float]) -> np.ndarray:
    """BiLinearResizeMat_cpu of util_img.cpp: neighbours beyond the border are left out."""
    out = np.zeros((*x.shape[:2], height, width), np.float32)
    for row in range(height):
        for column in range(width):
            down, right = np.float32(row) * np.float32(step[0]), np.float32(column) * np.float32(step[1])
            top, left = int(down), int(right)
            for y, weight in ((top, 1 - (down - top)), (top + 1, down - top)):
                for z, other in ((left, 1 - (right - left)), (left + 1, right - left)):
                    if y < x.shape[2] and z < x.shape[3]:
                        out[..., row, column] += weight * other * x[..., y, z]
    return out


def nearest(x: np.ndarray, height: int, width: int, factor: float) -> np.ndarray:
    rows = [min(int(np.float32(row) / np.float32(factor)), x.shape[2] - 1) for row in range(height)]
    columns = [min(int(np.float32(column) / np.float32(factor)), x.shape[3] - 1) for column in range(width)]
    return x[..., rows, :][..., columns]


@pytest.mark.proves("Resize", "resize_param { is_pyramid_test: false height: 20 width: 11 }", gradient=True)
@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ("is_pyramid_test: false height: 8 width: 3", (8, 3)),
        ("is_pyramid_test: true out_height_scale: 1.7 out_width_scale: 0.5", (8, 3)),
        ("type: BILINEAR resize_ratio: 2", (10, 14)),
        ("type: BILINEAR height: 4 width: 14", (4, 14)),
    ],
)
def test_bilinear(layer, fields, size):
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), requires_grad=True)
    top = layer("Resize", f"resize_param {{ {fields} }}", SHAPE)(a=x)["t0"]
    expected = bilinear(x.detach().numpy(), *size, (SHAPE[2] / size[0], SHAPE[3] / size[1]))
    np.testing.assert_allclose(top.detach().numpy(), expected, atol=1e-6)
    top.sum().backward()
    ones = np.eye(35, dtype=np.float32).reshape(1, 35, 5, 7)  # what each value of the bottom gives to the top
    shares = bilinear(ones, *size, (SHAPE[2] / size[0], SHAPE[3] / size[1])).sum((2, 3)).reshape(5, 7)
    np.testing.assert_allclose(x.grad[0, 0].numpy(), shares, atol=1e-5)


@pytest.mark.parametrize("kind", ["NEAREST", "BILINEAR"])
@pytest.mark.parametrize(
    ("fields", "size", "factor"),
    [
        ("function_type: SIZE_GIVEN output_size: 15", 15, 15 / 6),
        ("function_type: FACTOR_GIVEN resize_factor: 1.4", 8, 1.4),
        ("function_type: BLOB_ALIGN", 4, 4 / 6),
    ],
)
def test_function_types(layer, kind, fields, size, factor):
    x = torch.randn(SQUARE, generator=torch.Generator().manual_seed(0))
    shapes = (SQUARE, (1, 1, 4, 9)) if "ALIGN" in fields else (SQUARE,)
    net = layer("Resize", f"resize_param {{ {fields} intepolation_type: {kind} }}", *shapes)
    top = net(a=x, **({"b": torch.zeros(1, 1, 4, 9)} if len(shapes) == 2 else {}))["t0"].numpy()
    if kind == "NEAREST":
        expected = nearest(x.numpy(), size, size, factor)
    else:
        expected = bilinear(x.numpy(), size, size, (1 / factor, 1 / factor))
    np.testing.assert_allclose(top, expected, atol=1e-5)


def test_nearest(layer):
    x = torch.randn(SHAPE)
    found = layer("Resize", "resize_param { type: NEAREST resize_ratio: 2.5 }", SHAPE)(a=x)["t0"]
    np.testing.assert_array_equal(found.numpy(), nearest(x.numpy(), 12, 17, 2.5))
    found = layer("Resize", "resize_param { top_height: 10 top_width: 21 }", SHAPE)(a=x)["t0"]
    np.testing.assert_array_equal(found.numpy(), x.numpy().repeat(2, 2).repeat(3, 3))


@pytest.mark.parametrize(
    ("fields", "shape", "message"),
    [
        ("height: 8 width: 8", SHAPE, "does not say whose Resize it is"),
        ("", SHAPE, "does not say whose Resize it is"),
        ("is_pyramid_test: true", SHAPE, "its size is not stated, or 0"),
        ("is_pyramid_test: false height: 8", SHAPE, "its size is not stated, or 0"),
        ("is_pyramid_test: false resize_ratio: 2", SHAPE, "does not say type"),
        ("type: NEAREST height: 8 width: 8", SHAPE, "NEAREST goes by resize_ratio"),
        ("function_type: SIZE_GIVEN output_size: 8", SQUARE, "does not say intepolation_type"),
        ("function_type: SIZE_GIVEN output_size: 8 intepolation_type: NEAREST", SHAPE, "is for square blobs"),
        ("function_type: BLOB_ALIGN intepolation_type: NEAREST", SQUARE, "from a second bottom"),
        ("top_height: 8 top_width: 14", SHAPE, "multiples of the bottom's size"),
    ],
)
def test_what_is_refused(layer, fields, shape, message):
    with pytest.raises(NetError, match=message):
        layer("Resize", f"resize_param {{ {fields} }}", shape)


def test_a_field_of_a_fork_that_disagrees_is_named_with_it(layer):
    with pytest.raises(PrototxtError, match="philkr/caffe, whose Resize blurs before it shrinks"):
        layer("Resize", "resize_param { scale: 0.5 crop: 2 }", SHAPE)
