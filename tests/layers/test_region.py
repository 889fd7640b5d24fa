"""ROIPooling and PSROIPooling: one value after the other, and against OpenCV."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError

from . import opencv

IMAGE = (2, 18, 9, 13)
REGIONS = torch.tensor(
    [
        [0, 0, 0, 51, 35],
        [1, 8, 4, 40, 30],
        [0, 9.5, 6.5, 10.5, 7.5],
        [1, 30, 20, 60, 50],
        [0, 100, 100, 120, 110],
        [1, 20, 10, 20, 10],
    ]
)


def c_round(value: float) -> int:
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def text(layer: str, regions: int = len(REGIONS), image: tuple[int, ...] = IMAGE) -> str:
    sizes = " ".join(f"dim: {size}" for size in image)
    return (
        f'input: "x" input_shape {{ {sizes} }} input: "r" input_shape {{ dim: {regions} dim: 5 }} '
        f'layer {{ name: "p" {layer} bottom: "x" bottom: "r" top: "p" }}'
    )


ROI = 'type: "ROIPooling" roi_pooling_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.25 }'
PSROI = 'type: "PSROIPooling" psroi_pooling_param { output_dim: 2 group_size: 3 spatial_scale: 0.25 }'


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(IMAGE, generator=torch.Generator().manual_seed(0))


def test_the_maxima_of_the_bins(build, image):
    """roi_pooling_layer.cpp."""
    found = build(text(ROI)).run({"x": image, "r": REGIONS}).blobs["p"]
    expected = torch.zeros(len(REGIONS), 18, 3, 4)
    for n, region in enumerate(REGIONS.tolist()):
        x1, y1, x2, y2 = (c_round(value * 0.25) for value in region[1:])
        height, width = max(y2 - y1 + 1, 1) / 3, max(x2 - x1 + 1, 1) / 4
        for i in range(3):
            for j in range(4):
                top, bottom = (
                    min(max(c + y1, 0), 9) for c in (math.floor(i * height), math.ceil((i + 1) * height))
                )
                left, right = (
                    min(max(c + x1, 0), 13) for c in (math.floor(j * width), math.ceil((j + 1) * width))
                )
                if bottom > top and right > left:
                    part = image[int(region[0]), :, top:bottom, left:right]
                    expected[n, :, i, j] = part.amax((1, 2))
    assert torch.equal(found, expected)


def test_the_means_of_the_bins_channels(build, image):
    """psroi_pooling_layer.cu."""
    found = build(text(PSROI)).run({"x": image, "r": REGIONS}).blobs["p"]
    expected = torch.zeros(len(REGIONS), 2, 3, 3)
    for n, region in enumerate(REGIONS.tolist()):
        x1, y1, x2, y2 = (c_round(value) for value in region[1:])
        x1, y1, x2, y2 = x1 * 0.25, y1 * 0.25, (x2 + 1) * 0.25, (y2 + 1) * 0.25
        height, width = max(y2 - y1, 0.1) / 3, max(x2 - x1, 0.1) / 3
        for i in range(3):
            for j in range(3):
                ends = math.floor(i * height + y1), math.ceil((i + 1) * height + y1)
                top, bottom = (min(max(end, 0), 9) for end in ends)
                ends = math.floor(j * width + x1), math.ceil((j + 1) * width + x1)
                left, right = (min(max(end, 0), 13) for end in ends)
                for c in range(2) if bottom > top and right > left else ():
                    part = image[int(region[0]), (c * 3 + i) * 3 + j, top:bottom, left:right]
                    expected[n, c, i, j] = part.mean()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pooling", [ROI, PSROI])
def test_opencv_agrees(build, image, pooling: str):
    """With one image: OpenCV takes no batch here."""
    regions = REGIONS[[0, 1, 5]].clone()
    regions[:, 0] = 0
    net = text(pooling, len(regions), (1, *IMAGE[1:]))
    found = build(net).run({"x": image[:1], "r": regions}).blobs["p"].numpy()
    expected = opencv.run(net, {"x": image[:1].numpy(), "r": regions.numpy()})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.proves("ROIPooling", gradient=True)
def test_the_gradient_goes_to_the_maxima(build):
    net = build("force_backward: true " + text(ROI, 1, (1, 1, 9, 13)))
    x = torch.randn(1, 1, 9, 13, requires_grad=True, generator=torch.Generator().manual_seed(1))
    y = net.run({"x": x, "r": torch.tensor([[0.0, 0, 0, 51, 35]])}).blobs["p"]
    y.sum().backward()
    assert x.grad.sum() == 12 and torch.equal((x.detach() * (x.grad > 0)).max(), y.max())


@pytest.mark.proves("PSROIPooling", gradient=True)
def test_the_gradient_is_spread_over_the_bins(build):
    """Bins of 3 x 4 values in a region of 9 x 12: each value gets a twelfth, in the channel of its bin."""
    net = build("force_backward: true " + text(PSROI, 1, (1, 18, 9, 13)))
    x = torch.zeros(1, 18, 9, 13, requires_grad=True)
    net.run({"x": x, "r": torch.tensor([[0.0, 0, 0, 47, 35]])}).blobs["p"].sum().backward()
    expected = torch.zeros(2, 3, 3, 9, 13)
    for i in range(3):
        for j in range(3):
            expected[:, i, j, 3 * i : 3 * i + 3, 4 * j : 4 * j + 4] = 1 / 12
    torch.testing.assert_close(x.grad[0], expected.flatten(0, 2))


@pytest.mark.parametrize(
    "pooling, message",
    [(ROI.replace("pooled_w: 4", ""), "must be positive"), (PSROI.replace("size: 3", "size: 2"), "squared")],
)
def test_what_does_not_fit_is_refused(build, pooling: str, message: str):
    with pytest.raises(NetError, match=message):
        build(text(pooling))


def test_a_region_of_no_image_is_refused(build, image):
    with pytest.raises(NetError, match="does not belong to an image"):
        build(text(ROI)).run({"x": image, "r": REGIONS + 1})


def sampled(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """Detectron's bilinear_interpolate."""
    height, width = image.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return np.zeros(image.shape[0])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, along = y - top, x - left
    upper = image[:, top, left] * (1 - along) + image[:, top, right] * along
    lower = image[:, bottom, left] * (1 - along) + image[:, bottom, right] * along
    return upper * (1 - down) + lower * down


@pytest.mark.proves("ROIAlign", gradient=True)
@pytest.mark.parametrize("ratio", [0, 1, 3])
def test_roi_align_as_in_detectron(layer, ratio):
    image = torch.randn((2, 3, 7, 9), generator=torch.Generator().manual_seed(0), requires_grad=True)
    boxes = [[0, 1.3, 2.2, 11.9, 9.5], [1, -6, -7, 3, 40], [1, 4, 4, 4.5, 4.2], [0, 30, 0, 40, 9]]
    regions = torch.tensor(boxes)
    fields = f"roi_align_param {{ pooled_h: 2 pooled_w: 3 spatial_scale: 0.5 sampling_ratio: {ratio} }}"
    top = layer("ROIAlign", fields, (2, 3, 7, 9), (4, 5))(a=image, b=regions)["t0"]
    values = image.detach().double().numpy()
    for number, (index, *box) in enumerate(regions.double().tolist()):
        x1, y1, x2, y2 = (corner * 0.5 for corner in box)
        high, wide = max(y2 - y1, 1) / 2, max(x2 - x1, 1) / 3
        rows, columns = ratio or math.ceil(high), ratio or math.ceil(wide)
        for row, column in np.ndindex(2, 3):
            samples = [
                sampled(
                    values[int(index)],
                    y1 + (row + (i + 0.5) / rows) * high,
                    x1 + (column + (j + 0.5) / columns) * wide,
                )
                for i, j in np.ndindex(rows, columns)
            ]
            np.testing.assert_allclose(top[number, :, row, column].detach(), np.mean(samples, 0), atol=1e-5)
    top.sum().backward()
    inside = layer("ROIAlign", fields, (2, 3, 7, 9), (4, 5))(a=torch.ones(2, 3, 7, 9), b=regions)["t0"]
    assert image.grad.sum().item() == pytest.approx(inside.sum().item(), rel=1e-5)


def test_roi_align_must_say_whose_it_is(layer):
    with pytest.raises(NetError, match="does not say how many samples a bin has"):
        layer("ROIAlign", "roi_align_param { pooled_h: 2 pooled_w: 2 }", (1, 3, 7, 9), (1, 5))
