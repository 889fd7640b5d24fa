"""`torch.ops.rlossctl.bilateral_filter`: the filter as an operator for torch.compile and autograd.

A is linear, so its derivative with respect to the values is A^T, which is this operator again: the transpose
of the lattice blurs along the axes in reverse order, and the other modes are symmetric.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from rlossctl.bilateral import dispatch
from rlossctl.errors import NetError

MAX_COLOURS = 4
MODES = ("lattice", "symmetric", "exact")
TRANSPOSE = {"lattice": "transposed", "transposed": "lattice", "symmetric": "symmetric", "exact": "exact"}


OP = "rlossctl::bilateral_filter"


def operator(name: str, arguments: str, results: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorator that turns a function of real tensors into a torch operator, which it returns.

    It does the same as torch.library.custom_op, but without checks at each call, which would take as long as
    the kernel takes for a small image.
    """

    def define(function: Callable[..., Any]) -> Any:
        torch.library.define(name, f"({arguments}) -> {results}", tags=torch.Tag.pt2_compliant_tag)
        torch.library.impl(name, "CompositeExplicitAutograd", function)
        namespace, _, own = name.partition("::")
        return getattr(getattr(torch.ops, namespace), own).default

    return define


def differentiable(
    op: Any, setup_context: Callable[..., None], backward: Callable[..., tuple[torch.Tensor | None, ...]]
) -> None:
    """Gives an operator its derivative, as `torch.library.register_autograd` does, in half the time per call.

    That function looks up default arguments in the operator's schema; our operators do not have any.
    """

    def forward(ctx: Any, *arguments: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            output = op(*arguments)
        setup_context(ctx, arguments, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    function: Any = type(op.name().replace("::", "_"), (torch.autograd.Function,), members)

    def recorded(*arguments: Any) -> Any:
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*arguments):
            return function.apply(*arguments)
        with torch._C._AutoDispatchBelowAutograd():
            return op(*arguments)

    torch.library.impl(op.name(), "Autograd", recorded)


@operator(OP, "Tensor values, Tensor image, float sigma_xy, float sigma_rgb, str mode", "Tensor")
def filter_op(
    values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, mode: str
) -> torch.Tensor:
    """See `rlossctl.bilateral.bilateral_filter`. Tensors are float32 or float64; mode may be "transposed"."""
    check(values, image, sigma_xy, sigma_rgb, mode)
    return dispatch.filtered(values.contiguous(), image.contiguous(), sigma_xy, sigma_rgb, mode)


@torch.library.register_fake(OP)
def _(
    values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, mode: str
) -> torch.Tensor:
    check(values, image, sigma_xy, sigma_rgb, mode)
    return values.new_empty(values.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    ctx.set_materialize_grads(False)
    _, image, *ctx.rest = inputs
    ctx.save_for_backward(image)


def _backward(ctx: Any, upstream: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
    if upstream is None or not ctx.needs_input_grad[0]:
        return None, None, None, None, None
    sigma_xy, sigma_rgb, mode = ctx.rest
    (image,) = ctx.saved_tensors
    return filter_op(upstream, image, sigma_xy, sigma_rgb, TRANSPOSE[mode]), None, None, None, None


differentiable(filter_op, _setup_context, _backward)
for _device in ("cpu", "cuda"):
    torch.library.register_autocast(OP, _device, torch.float32)


def working_type(values: torch.Tensor) -> torch.dtype:
    """The float type for filtering `values`: float64 stays, all others become float32."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def check(values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, mode: str) -> None:
    """Raises a NetError if shapes, types or parameters do not allow filtering, and during an export."""
    refuse_export()
    check_parameters(sigma_xy, sigma_rgb, mode)
    fits = values.dim() == 4 and image.dim() == 4 and values.shape[0] == image.shape[0]
    if not (fits and values.shape[2:] == image.shape[2:] and image.shape[1] <= MAX_COLOURS):
        raise _error(
            "values and image do not fit together",
            f"values {tuple(values.shape)}, image {tuple(image.shape)}",
            f"values (N, K, H, W) and image (N, C, H, W) with C from 0 to {MAX_COLOURS}",
            "resize one of them first",
        )
    if values.dtype != image.dtype or values.device != image.device or working_type(values) != values.dtype:
        raise _error(
            "values and image must have the same type and device",
            f"values {values.dtype} on {values.device}, image {image.dtype} on {image.device}",
            "two float32 or two float64 tensors on one device",
            "convert them with .to(device, dtype)",
        )


def refuse_export() -> None:
    """Raises a NetError during an export."""
    if torch.compiler.is_exporting() or (torch.jit.is_tracing() and torch.onnx.is_in_onnx_export()):
        raise _error(
            "cannot be exported",
            "torch.export or torch.onnx.export",
            "a model without the filter, which other runtimes do not have",
            "export only the network: the DenseCRF loss is for training, and a CRF runs after the network",
        )


def check_parameters(sigma_xy: float, sigma_rgb: float, mode: str) -> None:
    """Raises a NetError for a sigma that is not a positive number, or an unknown mode."""
    for name, sigma in (("sigma_xy", sigma_xy), ("sigma_rgb", sigma_rgb)):
        if not 0 < sigma < float("inf"):
            raise _error(
                f"{name} is not a standard deviation",
                sigma,
                "a finite number above 0",
                "sigma_xy is in pixels, sigma_rgb in the units of the image",
            )
    if mode not in TRANSPOSE:
        raise _error("does not know this mode", repr(mode), ", ".join(MODES), "see docs/densecrf.md")


def _error(message: str, found: object, expected: str, advice: str) -> NetError:
    return NetError(message, where="bilateral filter", found=found, expected=expected, advice=advice)
