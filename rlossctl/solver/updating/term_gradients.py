"""How hard each term of the objective pulls: the size of its gradient where the terms' ways part."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from rlossctl.net import Net


class Pulls:
    """Measures the sum of |d (weight * top) / d blob| for each top, at the last blob that all of them need.

    A term's value says little about its pull: much of a DenseCRF loss is the same for any segmentation.
    Measuring goes back from the terms to that blob only, usually the scores, and changes no gradient.

    Absolute values are summed, as the weights before the blob gather the gradients of all pixels in a sum,
    too. A root of squares would overrate a term that acts on few pixels, and the more so the fewer they are:
    with a click in each object, the cross-entropy 33 times beside a DenseCRF loss.

    Attributes:
        blob: the blob's name; None for a net with fewer than two terms, or terms without a common blob.
    """

    def __init__(self, net: Net) -> None:
        number = _last_common_layer(net)
        self.blob = None if number is None else net.layers[number].tops[0]
        self._module = None if number is None else net.layers[number].module
        self._value: Tensor | None = None

    @contextlib.contextmanager
    def watching(self, wanted: bool) -> Iterator[None]:
        """Keeps the blob of a pass inside the block, if it is wanted."""
        if not wanted or self._module is None:
            yield
            return
        handle = self._module.register_forward_hook(self._keep)
        try:
            yield
        finally:
            handle.remove()

    def measure(self, losses: Mapping[str, tuple[Tensor, float]]) -> dict[str, float]:
        """Top -> pull, for the pass that was watched and before its backward; empty if none was."""
        value, self._value = self._value, None
        if value is None or not value.requires_grad:
            return {}
        pulls = _pulls([term * weight for term, weight in losses.values()], value)
        return dict(zip(losses, pulls, strict=True))

    def of(self, terms: Sequence[Tensor]) -> list[float]:
        """The pull of each term at the blob, in the pass watched and not yet forgotten."""
        if self._value is None or not self._value.requires_grad:
            return [0.0] * len(terms)
        return _pulls(terms, self._value)

    def forget(self) -> None:
        """Lets go of the pass that was watched."""
        self._value = None

    def _keep(self, module: torch.nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        self._value = output[0] if isinstance(output, tuple) else output


def _pulls(terms: Sequence[Tensor], value: Tensor) -> list[float]:
    pulls = []
    for term in terms:
        gradient = None
        if term.requires_grad:
            (gradient,) = torch.autograd.grad(term, value, retain_graph=True, allow_unused=True)
        pulls.append(
            value.new_zeros((), dtype=torch.float32) if gradient is None else gradient.float().abs().sum()
        )
    found: list[float] = torch.stack(pulls).tolist()
    return found


def _last_common_layer(net: Net) -> int | None:
    if len(net.loss_weights) < 2:
        return None
    common = set.intersection(*(net.layers_for({top}) for top in net.loss_weights))
    learned = (number for number in common if _is_learned(net, number))
    return max(learned, default=None)


def _is_learned(net: Net, number: int) -> bool:
    """Whether learned blobs lead to the layer's tops: what is made of labels alone gets no gradient."""
    return any(net.layers[other].module.blobs for other in net.layers_for(net.layers[number].tops))
