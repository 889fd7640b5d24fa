"""The filters to compare: our kernels, and other packages if installed."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from rlossctl.bilateral import bilateral_filter, choice, native
from rlossctl.losses import densecrf_loss

Filter = Callable[[torch.Tensor, torch.Tensor, float, float], torch.Tensor | None]
Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float, float], torch.Tensor]


@dataclass(frozen=True)
class Contender:
    """A filter: `apply(values, image, sigma_xy, sigma_rgb)`.

    `loss(values, mask, image, sigma_xy, sigma_rgb)` is the whole DenseCRF loss, forward and backward, and
    returns the gradient. `apply` may return None if a package does not expose the filtered values.
    """

    name: str
    what: str
    apply: Filter
    loss: Loss | None = None
    most_pixels: int | None = None  # larger images take too long
    mode: str = "lattice"  # the mode whose result it should match: "lattice" or "exact"


def contenders(twin: bool = True) -> list[Contender]:
    """The native kernel first, if it is built, then the filters to compare it with."""
    found = []
    native = choice.find_native().module
    if native is not None:
        simd = native.simd()
        found.append(Contender("native", f"this package's lattice, {simd}", *_with_kernel("native")))
        found.append(
            Contender(
                "exact",
                "this package's Gaussian sum, cutoff 1e-4",
                _exact,
                most_pixels=129 * 129,
                mode="exact",
            )
        )
    if twin:
        found.append(Contender("twin", "the same lattice in torch operations", *_with_kernel("twin")))
    if _installed("pydensecrf.densecrf"):
        what = "Kraehenbuehl's lattice, including one step's softmax; it does not expose the filtered values"
        found.append(Contender("pydensecrf", what, _pydensecrf))
    if _installed("pykeops.torch"):
        found.append(Contender("pykeops", "the Gaussian sum", _pykeops, most_pixels=129 * 129, mode="exact"))
    return found


def _installed(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _with_kernel(kernel: str) -> tuple[Filter, Loss]:
    """The public filter and loss, forced to use one kernel."""

    def apply(values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> torch.Tensor:
        os.environ[choice.VARIABLE] = kernel
        return bilateral_filter(values, image, sigma_xy, sigma_rgb)

    def loss(
        values: torch.Tensor, mask: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float
    ) -> torch.Tensor:
        os.environ[choice.VARIABLE] = kernel
        leaf = values.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(densecrf_loss(image, leaf, mask, sigma_xy, sigma_rgb), leaf)
        return gradient

    return apply, loss


def _exact(values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> torch.Tensor:
    return native.exact_filter(values, image, sigma_xy, sigma_rgb, cutoff=1e-4)


def features_of(image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> torch.Tensor:
    """The features [5, P] of one image [3, H, W]."""
    height, width = image.shape[1:]
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    return torch.cat([torch.stack([x, y]) / sigma_xy, image / sigma_rgb]).flatten(1)


def _pydensecrf(values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> None:
    from pydensecrf import densecrf

    for one, colours in zip(values, image, strict=True):
        unary = one.flatten(1).contiguous().numpy()  # [K, P]
        field = densecrf.DenseCRF(unary.shape[1], unary.shape[0])
        field.setUnaryEnergy(unary)
        features = np.ascontiguousarray(features_of(colours, sigma_xy, sigma_rgb).numpy())
        field.addPairwiseEnergy(
            features, compat=1, kernel=densecrf.CONST_KERNEL, normalization=densecrf.NO_NORMALIZATION
        )
        field.inference(1)


def _pykeops(values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> torch.Tensor:
    from pykeops.torch import LazyTensor

    filtered = []
    for one, colours in zip(values, image, strict=True):
        points = features_of(colours, sigma_xy, sigma_rgb).t().contiguous()  # [P, 5]
        distance = ((LazyTensor(points[:, None]) - LazyTensor(points[None])) ** 2).sum(-1)
        filtered.append(((-0.5 * distance).exp() @ one.flatten(1).t().contiguous()).t())  # [K, P]
    return torch.stack(filtered).view_as(values)
