"""The loss as an operator: gradients in every mode, torch.compile, unusual inputs."""

from __future__ import annotations

import pytest
import torch

from rlossctl.bilateral import dispatch
from rlossctl.bilateral.ops import MODES
from rlossctl.errors import NetError
from rlossctl.losses import DenseCRFLoss, densecrf_loss
from rlossctl.losses.ops import densecrf_op


@pytest.fixture
def sample() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Image 0..255 [2, 3, 4, 5], softmax [2, 3, 4, 5] that needs a gradient, mask [2, 1, 4, 5], in double."""
    generator = torch.Generator().manual_seed(3)
    image = (torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64) * 255).round()
    seg = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64).softmax(dim=1)
    return image, seg.requires_grad_(), (torch.rand(2, 1, 4, 5, generator=generator) > 0.2).double()


@pytest.fixture
def few(sample) -> list[torch.Tensor]:
    """Six pixels of each: numerical derivatives take two passes for every value."""
    image, seg, mask = (tensor.detach()[..., :2, :3].clone() for tensor in sample)
    return [image, seg.requires_grad_(), mask]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["symmetric", "exact"])
def test_the_gradient_is_the_derivative(few, mode) -> None:
    image, seg, mask = few

    def loss(s: torch.Tensor) -> torch.Tensor:
        return 1.7 * densecrf_loss(image, s.softmax(1), mask, 20, 40, mode)

    assert torch.autograd.gradcheck(loss, [seg])
    assert torch.autograd.gradgradcheck(loss, [seg])


@pytest.mark.slow
def test_the_originals_gradient_has_its_own_derivative(few) -> None:
    """-(2/N) mask A (mask s) is linear in s, so create_graph works although A is not symmetric."""
    image, seg, mask = few
    assert torch.autograd.gradgradcheck(lambda s: densecrf_loss(image, s, mask, 20, 40), [seg])


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_operator_keeps_torchs_rules(sample, mode, dtype) -> None:
    image, seg, mask = (tensor.detach().to(dtype) for tensor in sample)
    torch.library.opcheck(densecrf_op, (image, seg.requires_grad_(), mask, 20.0, 40.0, mode, 0.5))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled(sample, backend) -> None:
    image, seg, mask = (tensor.detach().float() for tensor in sample)
    module = DenseCRFLoss(weight=2e-3, sigma_rgb=15, sigma_xy=40, scale_factor=0.5)
    torch.compiler.reset()
    seg.requires_grad_()
    results = []
    for loss_of in (module, torch.compile(module, backend=backend, fullgraph=True)):
        loss = loss_of(image, seg, mask)
        results.append((loss, torch.autograd.grad(loss, seg)[0]))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("expected", [1.0, 3.0, 1e-8, 0.0])
def test_what_is_expected_from_above_changes_nothing(sample, expected) -> None:
    image, seg, mask = sample
    plain = densecrf_loss(image, seg, mask, 20, 40)
    hinted = densecrf_loss(image, seg, mask, 20, 40, upstream=expected)
    assert torch.equal(plain, hinted)
    for factor in (1, 3, 1e-8):
        gradients = [
            torch.autograd.grad(factor * loss, seg, retain_graph=True)[0] for loss in (plain, hinted)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-12, atol=0)


@pytest.mark.parametrize("expected", [1.0, 5.0])
def test_a_kept_graph_gives_the_same_gradient_again(sample, expected) -> None:
    image, seg, mask = sample
    loss = densecrf_loss(image, seg, mask, 20, 40, upstream=expected)
    (first,) = torch.autograd.grad(loss, seg, retain_graph=True)
    kept = first.clone()
    assert not first.requires_grad
    first.zero_()  # it is the caller's: what is done to it must not come back
    for count in (1, 2, 3):
        loss.backward(retain_graph=True)
        torch.testing.assert_close(seg.grad, count * kept)
    assert not seg.grad.requires_grad


def test_filters_once_per_step_when_compiled(sample, monkeypatch) -> None:
    image, seg, mask = sample
    calls, filtered = [], dispatch.filtered
    monkeypatch.setattr(dispatch, "filtered", lambda *arguments: calls.append(1) or filtered(*arguments))
    torch.compiler.reset()
    step = torch.compile(
        lambda s: 2 * densecrf_loss(image, s, mask, 20, 40), backend="aot_eager", fullgraph=True
    )
    step(seg).backward()
    assert len(calls) == 1


def test_the_gradient_is_handed_over_without_a_copy(sample) -> None:
    """With the expected gradient from above no operation runs over the classes' planes."""
    image, seg, mask = (tensor.detach().float() for tensor in sample)
    loss, gradient = densecrf_op(image, seg.requires_grad_(), mask, 20.0, 40.0, "lattice", 3.0)
    (3 * loss).backward()
    assert seg.grad.data_ptr() == gradient.data_ptr()


@pytest.mark.parametrize("mode", MODES)
def test_one_class(sample, mode) -> None:
    image, seg, mask = sample
    whole = densecrf_loss(image, seg, mask, 20, 40, mode)
    parts = [densecrf_loss(image, seg[:, k : k + 1], mask, 20, 40, mode) for k in range(3)]
    torch.testing.assert_close(whole, sum(parts))


@pytest.mark.parametrize("mode", MODES)
def test_everything_masked(sample, mode) -> None:
    image, seg, mask = sample
    loss = densecrf_loss(image, seg, torch.zeros_like(mask), 20, 40, mode)
    loss.backward()
    assert loss.item() == 0 and not seg.grad.any()


@pytest.mark.parametrize("mode", MODES)
def test_half_precision_is_computed_in_float32(sample, mode) -> None:
    image, seg, mask = (tensor.detach().half() for tensor in sample)
    loss = densecrf_loss(image, seg.requires_grad_(), mask, 20, 40, mode)
    loss.backward()
    full = seg.detach().float().requires_grad_()
    expected = densecrf_loss(image.float(), full, mask.float(), 20, 40, mode)
    expected.backward()
    assert loss.dtype == torch.float32 and torch.equal(loss, expected)
    assert seg.grad.dtype == torch.float16 and torch.equal(seg.grad, full.grad.half())


@pytest.mark.parametrize("mode", MODES)
def test_strides_do_not_matter(sample, mode) -> None:
    image, seg, mask = (tensor.detach().float() for tensor in sample)
    expected = densecrf_loss(image, seg, mask, 20, 40, mode)
    strided = [tensor.to(memory_format=torch.channels_last) for tensor in (image, seg, mask)]
    assert torch.equal(densecrf_loss(*strided, 20, 40, mode), expected)
    turned = [tensor.transpose(2, 3).contiguous().transpose(2, 3) for tensor in (image, seg, mask)]
    assert torch.equal(densecrf_loss(*turned, 20, 40, mode), expected)


def test_without_a_gradient_to_give(sample) -> None:
    image, seg, mask = sample
    with torch.no_grad():
        assert not densecrf_loss(image, seg, mask, 20, 40).requires_grad
    assert not densecrf_loss(image, seg.detach(), mask, 20, 40).requires_grad


@pytest.mark.parametrize("place", ["seg", "mask"])
@pytest.mark.parametrize("mode", MODES)
def test_nan_is_refused(sample, place, mode) -> None:
    image, seg, mask = (tensor.detach().clone() for tensor in sample)
    {"seg": seg, "mask": mask}[place][0, 0, 0, 0] = torch.nan
    with pytest.raises(NetError, match="loss is NaN"):
        densecrf_loss(image, seg, mask, 20, 40, mode)


def test_operator_refuses_types_that_differ(sample) -> None:
    image, seg, mask = sample
    with pytest.raises(NetError, match="one type and one device"):
        densecrf_op(image, seg, mask.float(), 20.0, 40.0, "lattice", 1.0)


class Loss(torch.nn.Module):
    def forward(self, image: torch.Tensor, seg: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return densecrf_loss(image, seg, mask, 20, 40)


def test_export_is_refused(sample) -> None:
    with pytest.raises(NetError, match="cannot be exported"):
        torch.export.export(Loss(), tuple(tensor.detach() for tensor in sample))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", MODES)
def test_on_the_device_as_on_the_cpu(sample, mode) -> None:
    results = []
    for device in ("cpu", "cuda"):
        image, seg, mask = (tensor.detach().float().to(device) for tensor in sample)
        loss = densecrf_loss(image, seg.requires_grad_(), mask, 20, 40, mode)
        loss.backward()
        results.append((loss.cpu(), seg.grad.cpu()))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-6)
