"""DenseCRF loss: the original's values and gradients, and the module around it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from rlossctl.bilateral import bilateral_filter, twin
from rlossctl.errors import NetError
from rlossctl.losses import DenseCRFLoss, caffe_mask, densecrf_loss


def check_against_original(case: np.lib.npyio.NpzFile) -> None:
    """Within 1e-5, ten times closer than asked: the vertices around feature zero, which the original adds
    when the number of pixels is not a multiple of 4, are reproduced too."""
    data, seg = torch.from_numpy(case["data"]), torch.from_numpy(case["seg"]).requires_grad_()
    sigmas = float(case["sigma_xy"]), float(case["sigma_rgb"])
    ones = torch.ones_like(seg, requires_grad=True)
    for soft, value, slope in ((seg, "loss", "grad"), (ones, "loss_of_ones", "grad_of_ones")):
        loss = densecrf_loss(data, soft, caffe_mask(data), *sigmas)
        assert loss.item() == pytest.approx(float(case[value]), rel=1e-5)
        (gradient,) = torch.autograd.grad(loss, soft)
        expected = torch.from_numpy(case[slope]).expand_as(gradient)
        assert (gradient - expected).norm() <= 1e-5 * expected.norm()


@pytest.mark.parametrize("kernel", ["", "twin"])
@pytest.mark.parametrize("name", ["small", "41", "padded", "anisotropic", "default_params"])
def test_original(golden, monkeypatch, kernel, name) -> None:
    monkeypatch.setenv("RLOSSCTL_BILATERAL", kernel)
    with np.load(golden / "densecrf" / f"crf_{name}.npz") as case:
        check_against_original(case)


def test_original_large(shared) -> None:
    with np.load(shared / "golden" / "densecrf" / "crf_161.npz") as case:
        check_against_original(case)


@pytest.fixture
def sample() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image 0..255 [2, 3, 7, 6], softmax [2, 4, 7, 6] and mask [2, 1, 7, 6], in double."""
    generator = torch.Generator().manual_seed(3)
    image = (torch.rand(2, 3, 7, 6, generator=generator, dtype=torch.float64) * 255).round()
    seg = torch.randn(2, 4, 7, 6, generator=generator, dtype=torch.float64).softmax(dim=1)
    mask = (torch.rand(2, 1, 7, 6, generator=generator) > 0.2).double()
    return image, seg, mask


def operators(image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> torch.Tensor:
    """The filter as a matrix for each image, [N, P, P], from its action on every unit vector."""
    pixels = image[0, 0].numel()
    units = torch.eye(pixels, dtype=image.dtype).view(1, pixels, *image.shape[2:]).repeat(len(image), 1, 1, 1)
    return bilateral_filter(units, image, sigma_xy, sigma_rgb).flatten(2).transpose(1, 2)


@pytest.mark.proves("DenseCRFLoss", gradient=True)
def test_value_and_gradient_are_the_formulas(sample) -> None:
    image, seg, mask = sample
    seg.requires_grad_()
    matrix = operators(image, 20, 40)  # [N, P, P]
    masked = (seg * mask).detach().flatten(2).transpose(1, 2)  # [N, P, K]
    loss = densecrf_loss(image, seg, mask, 20, 40)
    assert loss.item() == pytest.approx(-((masked * (matrix @ masked)).sum() / 2).item(), rel=1e-10)
    (3 * loss).backward()
    expected = -(2 / 2) * 3 * (matrix @ masked).transpose(1, 2).reshape(seg.shape) * mask
    torch.testing.assert_close(seg.grad, expected, rtol=1e-10, atol=1e-12)


MASKED = """input: "x" input_shape { dim: 2 dim: 3 dim: 7 dim: 6 }
input: "s" input_shape { dim: 2 dim: 4 dim: 7 dim: 6 }
input: "m" input_shape { dim: 2 dim: 1 dim: %d dim: 6 }
layer { name: "l" type: "DenseCRFLoss" bottom: "x" bottom: "s" bottom: "m" top: "t" loss_weight: 1
  densecrf_loss_param { bi_xy_std: 20 bi_rgb_std: 40 } }"""


def test_a_third_bottom_is_the_mask(build, sample) -> None:
    image, seg, mask = (blob.float() for blob in sample)
    image[:, :, 3] = 0  # which would be padding
    found = build(MASKED % 7)(x=image, s=seg, m=0.5 * mask)["t"]
    assert found.item() == densecrf_loss(image, seg, mask, 20, 40).item()
    with pytest.raises(NetError, match="mask and segmentation must have the same"):
        build(MASKED % 5)


def test_the_gradient_is_not_quite_the_derivative(sample) -> None:
    """The blur runs along one axis after the other over a lattice with holes, so A is not its transpose;
    the derivative of s^T A s is (A + A^T) s, and the original gives 2 A s."""
    image, seg, _ = sample
    seg.requires_grad_()
    mask = torch.ones(2, 7, 6)
    densecrf_loss(image, seg, mask, 20, 40).backward()
    matrix, flat = operators(image, 20, 40), seg.detach().flatten(2).transpose(1, 2)
    exact = (-((matrix + matrix.mT) @ flat) / 2).transpose(1, 2).reshape(seg.shape)
    step = torch.zeros_like(seg)
    step[1, 2, 3, 4] = 1e-4
    with torch.no_grad():
        ahead, behind = (densecrf_loss(image, seg + d, mask, 20, 40) for d in (step, -step))
    assert ((ahead - behind) / 2e-4).item() == pytest.approx(exact[1, 2, 3, 4].item(), rel=1e-6)
    assert 1e-5 < (seg.grad - exact).norm() / exact.norm() < 0.1


def test_gradcheck_where_the_operator_is_symmetric() -> None:
    """One pixel: A is a number, so here the gradient must be the derivative."""
    image = torch.tensor([10.0, 200.0, 30.0], dtype=torch.float64).view(1, 3, 1, 1)
    seg = torch.rand(1, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(1, 1, 1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: densecrf_loss(image, s.softmax(1), mask, 30, 15), [seg])


def test_filters_once_per_step(sample, monkeypatch) -> None:
    calls = []

    def counted(*arguments):
        calls.append(1)
        return lattice_filter(*arguments)

    lattice_filter = twin.lattice_filter
    monkeypatch.setattr(twin, "lattice_filter", counted)
    image, seg, mask = sample
    densecrf_loss(image, seg.requires_grad_(), mask, 20, 40).backward()
    assert len(calls) == 1


def test_only_the_segmentation_gets_a_gradient(sample) -> None:
    image, seg, mask = (tensor.requires_grad_() for tensor in sample)
    densecrf_loss(image, seg, mask, 20, 40).backward()
    assert seg.grad is not None and image.grad is None and mask.grad is None


def test_everything_masked_is_zero(sample) -> None:
    image, seg, mask = sample
    loss = densecrf_loss(image, seg.requires_grad_(), torch.zeros_like(mask), 20, 40)
    loss.backward()
    assert loss.item() == 0 and not seg.grad.any()


def test_caffe_mask_truncates() -> None:
    data = torch.tensor([[0.0, 0.0, 0.0], [0.99, -0.99, 0.5], [1.0, 0.0, 0.0], [0.0, -1.2, 0.0]])
    mask = caffe_mask(data.t().reshape(1, 3, 1, 4))
    assert mask.shape == (1, 1, 1, 4)
    assert mask.flatten().tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("flat", [True, False])
def test_module_resizes_as_the_original(sample, flat) -> None:
    image, seg, mask = (functional.interpolate(tensor.float(), scale_factor=3) for tensor in sample)
    seg = seg.roll(1, dims=2).requires_grad_()
    copies = [tensor.detach().clone() for tensor in (image, seg, mask)]
    loss = DenseCRFLoss(weight=2e-3, sigma_rgb=15, sigma_xy=40, scale_factor=0.5)(
        image, seg, mask[:, 0] if flat else mask
    )
    (gradient,) = torch.autograd.grad(loss, seg)
    small = functional.interpolate(seg, scale_factor=0.5, mode="bilinear", align_corners=False)
    halves = (functional.interpolate(tensor, scale_factor=0.5) for tensor in (image, mask))
    expected = 2e-3 * densecrf_loss(next(halves), small, next(halves), 20, 15)
    assert loss.shape == () and torch.equal(loss, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, seg)[0])
    for tensor, copy in zip((image, seg, mask), copies, strict=True):
        assert torch.equal(tensor, copy)


def test_module_computes_in_float32_under_autocast(sample) -> None:
    image, seg, mask = (tensor.float() for tensor in sample)
    module = DenseCRFLoss(1.0, 15, 40, 0.5)
    expected = module(image, seg, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = module(image, seg, mask)
        scores = seg.bfloat16().requires_grad_()
        module(image, scores, mask).backward()
    assert found.dtype == torch.float32 and torch.equal(found, expected)
    assert scores.grad.dtype == torch.bfloat16


def test_module_takes_integer_images_and_boolean_rois(sample) -> None:
    image, seg, mask = sample
    module = DenseCRFLoss(1.0, 15, 40, 1.0)
    assert torch.equal(module(image.to(torch.uint8), seg, mask.bool()), module(image, seg, mask))
    assert "sigma_xy=40" in repr(module)


def test_a_shape_without_values() -> None:
    shapes = ((2, 3, 8, 8), (2, 5, 8, 8), (2, 1, 8, 8))
    assert densecrf_loss(*(torch.empty(shape, device="meta") for shape in shapes), 20, 15).shape == ()


@pytest.mark.parametrize(
    ("seg", "mask", "words"),
    [
        (torch.ones(1, 2, 4, 4), torch.ones(1, 1, 4, 5), "do not fit"),
        (torch.ones(1, 2, 4, 4), torch.ones(1, 2, 4, 4), "do not fit"),
        (torch.ones(1, 2, 4, 5), torch.ones(1, 4, 5), "do not fit"),
        (torch.ones(2, 4, 4), torch.ones(2, 4, 4), "do not fit"),
        (torch.ones(1, 2, 4, 4, dtype=torch.long), torch.ones(1, 4, 4), "soft scores"),
        (torch.full((1, 2, 4, 4), torch.nan), torch.ones(1, 4, 4), "loss is NaN"),
    ],
)
def test_inputs_that_do_not_fit(seg, mask, words) -> None:
    with pytest.raises(NetError, match=words):
        densecrf_loss(torch.ones(1, 3, 4, 4), seg, mask, 20, 15)


@pytest.mark.parametrize(("sigma_rgb", "sigma_xy", "scale"), [(0, 40, 1.0), (15, -1, 1.0), (15, 40, 0.0)])
def test_parameters_that_are_none(sample, sigma_rgb, sigma_xy, scale) -> None:
    image, seg, mask = sample
    with pytest.raises(NetError):
        DenseCRFLoss(1.0, sigma_rgb, sigma_xy, scale)(image, seg, mask)
