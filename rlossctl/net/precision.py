"""Running a layer in 16 bits: products of weights in autocast, other layers in the type of their bottoms.

Losses, metrics, softmax, resizing and the filter stay in float32, and so do weights and their gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlossctl.net.layer import Layer


def run_layer(
    module: Layer, bottoms: Sequence[Tensor], precision: torch.dtype | None
) -> Tensor | tuple[Tensor, ...]:
    """A layer's tops.

    Args:
        precision: torch.bfloat16 or torch.float16; None runs everything as it comes.
    """
    if precision is None:
        tops: Tensor | tuple[Tensor, ...] = module(*bottoms)
    elif not module.low_precision:
        tops = module(*(as_float(bottom, precision) for bottom in bottoms))
    elif len(module.blobs):
        with torch.autocast(bottoms[0].device.type, precision, cache_enabled=False):
            tops = module(*bottoms)
    else:
        tops = module(*bottoms)
    return tops


def as_float(value: Tensor, precision: torch.dtype | None) -> Tensor:
    """The value, in float32 if it is of the low precision."""
    return value.float() if value.dtype == precision else value
