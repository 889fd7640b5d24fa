"""The filter as an operator: gradients, torch.compile, autocast, export."""

from __future__ import annotations

import pytest
import torch

from rlossctl.bilateral import bilateral_filter
from rlossctl.bilateral.ops import MODES, filter_op
from rlossctl.errors import NetError


@pytest.fixture
def sample() -> tuple[torch.Tensor, torch.Tensor]:
    """Values [2, 2, 4, 5] that need a gradient, and an image [2, 3, 4, 5] of 0..255, in double."""
    generator = torch.Generator().manual_seed(2)
    values = torch.rand(2, 2, 4, 5, generator=generator, dtype=torch.float64)
    image = (torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64) * 255).round()
    return values.requires_grad_(), image


@pytest.mark.parametrize("mode", MODES)
def test_derivative(sample, mode) -> None:
    values, image = (tensor.detach()[:, :1, :2, :3].clone() for tensor in sample)
    values.requires_grad_()

    def filtered(v: torch.Tensor) -> torch.Tensor:
        return bilateral_filter(v, image, 20, 40, mode)

    assert torch.autograd.gradcheck(filtered, [values])
    assert torch.autograd.gradgradcheck(filtered, [values])


@pytest.mark.slow
@pytest.mark.parametrize("mode", [*MODES, "transposed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_operator_keeps_torchs_rules(sample, mode, dtype) -> None:
    values, image = (tensor.detach().to(dtype) for tensor in sample)
    torch.library.opcheck(filter_op, (values.requires_grad_(), image, 20.0, 40.0, mode))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled(sample, backend) -> None:
    values, image = sample

    def step(v: torch.Tensor) -> torch.Tensor:
        return (bilateral_filter(v.softmax(1), image, 20, 40) * v).sum()

    results = [
        (run(values), torch.autograd.grad(run(values), values)[0]) for run in (step, compiled(step, backend))
    ]
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=0)


def compiled(function, backend):
    torch.compiler.reset()
    return torch.compile(function, backend=backend, fullgraph=True)


def test_autocast_computes_in_float32(sample) -> None:
    values, image = (tensor.detach().float() for tensor in sample)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = filter_op(values.bfloat16(), image.bfloat16(), 20.0, 40.0, "lattice")
        public = bilateral_filter(values, image, 20, 40)
    assert found.dtype == public.dtype == torch.float32
    assert torch.equal(
        found, filter_op(values.bfloat16().float(), image.bfloat16().float(), 20.0, 40.0, "lattice")
    )
    assert torch.equal(public, bilateral_filter(values, image, 20, 40))


def test_half_values_get_a_half_gradient(sample) -> None:
    values, image = (tensor.detach().half() for tensor in sample)
    bilateral_filter(values.requires_grad_(), image, 20, 40).sum().backward()
    assert values.grad.dtype == torch.float16 and values.grad.isfinite().all()


def test_the_image_gets_no_gradient(sample) -> None:
    values, image = sample
    bilateral_filter(values, image.requires_grad_(), 20, 40).sum().backward()
    assert image.grad is None
    image = image.detach().requires_grad_()
    filter_op(values.detach(), image, 20.0, 40.0, "lattice").sum().backward()
    assert image.grad is None


def test_nothing_is_recorded_for_values_without_a_gradient(sample) -> None:
    values, image = sample
    assert not bilateral_filter(values.detach(), image, 20, 40).requires_grad


def test_shapes_without_values() -> None:
    values, image = torch.empty(2, 5, 8, 9, device="meta"), torch.empty(2, 3, 8, 9, device="meta")
    assert bilateral_filter(values.half(), image, 20, 40).shape == (2, 5, 8, 9)
    with pytest.raises(NetError, match="do not fit"):
        bilateral_filter(values, image[:1], 20, 40)


class Filter(torch.nn.Module):
    def forward(self, values: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return bilateral_filter(values, image, 20, 40)


def test_export_is_refused(sample) -> None:
    tensors = tuple(tensor.detach() for tensor in sample)
    with pytest.raises(NetError, match="cannot be exported"):
        torch.export.export(Filter(), tensors)
    with pytest.raises(Exception, match="bilateral filter: cannot be exported"):
        torch.export.export(Filter(), tensors, strict=True)


@pytest.mark.slow
def test_onnx_export_is_refused(sample, tmp_path) -> None:
    tensors = tuple(tensor.detach() for tensor in sample)
    with pytest.raises(Exception, match="bilateral filter: cannot be exported"):
        torch.onnx.export(Filter().eval(), tensors, tmp_path / "filter.onnx", verbose=False)


@pytest.mark.parametrize(
    ("values", "image"),
    [
        (torch.ones(1, 1, 4, 4), torch.ones(1, 3, 4, 4, dtype=torch.float64)),
        (torch.ones(1, 1, 4, 4).half(), torch.ones(1, 3, 4, 4).half()),
        (torch.ones(1, 1, 4, 4), torch.ones(1, 3, 4, 4, device="meta")),
    ],
)
def test_operator_refuses_what_would_be_read_wrongly(values, image) -> None:
    with pytest.raises(NetError, match="the same type and device"):
        filter_op(values, image, 20.0, 40.0, "lattice")
