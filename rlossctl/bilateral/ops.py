"""`torch.ops.rlossctl.bilateral_filter`: the filter as an operator that torch.compile and autograd know.

A is linear, so its derivative with respect to the values is A^T, again this operator: the lattice's
transpose runs the blur's axes the other way round, the other modes are symmetric.
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
    """Decorator: makes a function of real tensors an operator of torch; gives the operator.

    What torch.library.custom_op does, without its checks at each call: they would take as long as the kernel
    needs for a small image.
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
    """Gives an operator its derivative: `torch.library.register_autograd` with half its time at each call.

    That one asks the operator's schema for the defaults of arguments, of which ours have none.
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
    """See `rlossctl.bilateral.bilateral_filter`. Both tensors float32 or float64; mode also "transposed"."""
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
    """The float type that `values` are filtered in: float64 as it is, all others in float32."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def check(values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float, mode: str) -> None:
    """Raises a NetError for what cannot be filtered, from shapes and types alone, and while exporting."""
    if torch.compiler.is_exporting() or (torch.jit.is_tracing() and torch.onnx.is_in_onnx_export()):
        raise _error(
            "cannot be exported",
            "torch.export or torch.onnx.export",
            "a model without the filter, for no other runtime has it",
            "export the network alone; the DenseCRF loss is for training, and a CRF runs after the network",
        )
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
            "values and image must be of one type and on one device",
            f"values {values.dtype} on {values.device}, image {image.dtype} on {image.device}",
            "two tensors of float32 or of float64 on one device",
            "convert them with .to(device, dtype)",
        )


def check_parameters(sigma_xy: float, sigma_rgb: float, mode: str) -> None:
    """Raises a NetError for a sigma that is none, or an unknown mode."""
    for name, sigma in (("sigma_xy", sigma_xy), ("sigma_rgb", sigma_rgb)):
        if not 0 < sigma < float("inf"):
            raise _error(
                f"{name} is no standard deviation",
                sigma,
                "a finite number above 0",
                "sigma_xy is in pixels, sigma_rgb in the units of the image",
            )
    if mode not in TRANSPOSE:
        raise _error("does not know this mode", repr(mode), ", ".join(MODES), "see docs/densecrf.md")


def _error(message: str, found: object, expected: str, advice: str) -> NetError:
    return NetError(message, where="bilateral filter", found=found, expected=expected, advice=advice)
