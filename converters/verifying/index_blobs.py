"""Compares blobs of indices: if two candidates are nearly equal, two programs may choose differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rlossctl.converters.verifying.comparison import Comparison
from rlossctl.layers.indexing import ArgMax
from rlossctl.layers.pooling import Pooling
from rlossctl.net.walk import LayerNode, Step


@dataclass(frozen=True)
class Choice:
    """One blob of indices in a pass of the net.

    Attributes:
        candidates: the values to choose from, along `axis`; the other axes are the same as for the indices.
        best: the largest value of each window, in the indices' shape.
        step: the layer in the pass, whose top `follow` replaces.
        top: which of the layer's tops the blob is.
        window: (width of the plane, kernel) for pooling masks: limits how far apart two indices may be.
    """

    candidates: Tensor
    axis: int
    best: Tensor
    step: Step
    top: int
    window: tuple[int, tuple[int, int]] | None

    def compare(self, trial: str, blob: str, found: np.ndarray, layer: str) -> Comparison:
        """Compares indices; the error is how far the other program's chosen values are below the best."""
        own = self.step.tops[self.top]
        other = torch.from_numpy(np.array(found)).to(own.dtype)
        count = self.candidates.shape[self.axis]
        wrong = other.shape != own.shape or bool(((other < 0) | (other >= count)).any())
        if wrong or not self._of_one_window(own, other):
            return Comparison(trial, blob, tuple(found.shape), np.inf, np.inf, 1.0, layer)
        index = other.flatten(2) if self.window else other
        chosen = self.candidates.gather(self.axis, index.long()).reshape(other.shape)
        return compare_choices(
            trial, blob, found, own.numpy(), chosen.numpy(), self.best.reshape(own.shape).numpy(), layer
        )

    def follow(self, trial: str, blob: str, found: np.ndarray, layer: str) -> Comparison:
        """Compares, then continues the pass with the other program's choices, so that later blobs stay
        comparable."""
        comparison = self.compare(trial, blob, found, layer)
        if np.isfinite(comparison.error):
            own = self.step.tops[self.top]
            self.step.replace(self.top, torch.from_numpy(np.array(found)).to(own.dtype))
        return comparison

    def _of_one_window(self, own: Tensor, other: Tensor) -> bool:
        if self.window is None:
            return True
        width, (rows, columns) = self.window
        down = (own // width - other // width).abs()
        across = (own % width - other % width).abs()
        return bool((down < rows).all() and (across < columns).all())


class Blob(NamedTuple):
    """A named blob of a pass; `choice` is set if it holds indices."""

    name: str
    array: np.ndarray
    choice: Choice | None = None


def choice_of(step: Step, top: int) -> Choice | None:
    """The choice behind a top of indices, or None for a top of plain values."""
    if not is_choice(step.layer, top):
        return None
    module, candidates = step.layer.module, step.bottoms[0]
    if isinstance(module, ArgMax) and module.axis is not None:
        best = candidates.amax(module.axis, keepdim=True)
        return Choice(candidates, module.axis, best, step, top, None)
    if isinstance(module, Pooling):
        rows, columns = candidates.shape[2:]
        kernel = (rows, columns) if module.is_global else module.kernel
        return Choice(candidates.flatten(2), 2, step.tops[0], step, top, (columns, kernel))
    return None


def is_choice(layer: LayerNode, top: int) -> bool:
    """Whether a top holds indices that `choice_of` can judge."""
    module = layer.module
    if isinstance(module, ArgMax):
        return module.axis is not None and module.top_k == 1 and not module.values
    return is_mask(layer, top)


def is_mask(layer: LayerNode, top: int) -> bool:
    """Whether a top holds flat positions in a plane: the second top of MAX pooling."""
    return isinstance(layer.module, Pooling) and top == 1


def compare_choices(
    trial: str,
    blob: str,
    found: np.ndarray,
    expected: np.ndarray,
    chosen: np.ndarray,
    best: np.ndarray,
    layer: str,
) -> Comparison:
    """Compares choices by their values; `disagreement` is the share of positions with different indices."""
    loss = np.abs(best.astype(np.float64) - chosen)
    index = np.unravel_index(int(loss.argmax()), loss.shape)
    magnitude = float(np.abs(best).max())
    absolute = float(loss[index])
    return Comparison(
        trial,
        blob,
        tuple(expected.shape),
        absolute,
        absolute / magnitude if magnitude else absolute,
        float((found != expected).mean()),
        layer,
        tuple(int(place) for place in index),
        float(found[index]),
        float(expected[index]),
    )
