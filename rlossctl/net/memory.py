"""How much memory a net needs at least and how much there is, computed before any is allocated."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.errors import UsageError

if TYPE_CHECKING:
    import torch

    from rlossctl.net.layer import Layer, Shape
    from rlossctl.net.walk import LayerNode

MAX_MEMORY = "RLOSSCTL_MAX_MEMORY"  # environment variable: bytes that a net may use, instead of the machine's
FLOAT_BYTES = 4
MOST_KEPT = 4  # blobs of a top's size that a layer may keep for the backward pass: few keep as many
# Where Linux keeps the limit of a container: cgroups of version 2 and 1.
_CONTAINERS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Training:
    """What training needs beside the weights.

    Attributes:
        history: how many values the solver keeps from update to update for each learned value.
        kept: measures how many bytes each layer's forward pass keeps for the backward pass
            (`kept_for_backward`); asked only if the net is large for the memory there is.
    """

    history: int
    kept: Callable[[], Mapping[Layer, int]]


@dataclass
class _Need:
    """Bytes: of learned blobs by layer, of their gradients and update history, of each layer's largest top,
    and of what is kept for the backward pass."""

    tops: Mapping[Layer, int]
    weights: dict[Layer, int] = field(default_factory=dict)
    gradients: int = 0
    history: int = 0
    kept: Mapping[Layer, int] = field(default_factory=dict)

    def total(self) -> int:
        """What must be there at the same time, at least."""
        blobs = max(sum(self.kept.values()), max(self.tops.values(), default=0))
        return sum(self.weights.values()) + self.gradients + self.history + blobs

    def of(self, layer: Layer) -> int:
        """A layer's own part, to find the one that needs most."""
        return self.weights.get(layer, 0) + max(self.tops[layer], self.kept.get(layer, 0))

    def describe(self, layer: Layer) -> str:
        """In words, with the part of one layer."""
        text = f"{_size(self.total())} at least"
        if self.kept:
            text += (
                f" to train: {_size(sum(self.weights.values()))} of weights, {_size(self.gradients)} of "
                f"gradients, {_size(self.history)} of update history, {_size(sum(self.kept.values()))} that "
                "the backward pass needs"
            )
        own = f"{_size(self.weights.get(layer, 0))} of weights, tops of up to {_size(self.tops[layer])}"
        return f"{text}; this layer: {own}"


def require(
    layers: Iterable[LayerNode],
    shapes: Mapping[str, Shape],
    blobs: Iterable[tuple[Layer, torch.Tensor]],
    device: torch.device,
    training: Training | None = None,
) -> None:
    """Refuses a net that cannot fit. A pass needs at least its learned blobs and its largest other blob.

    Args:
        layers: all layers, with the names of their tops.
        shapes: shapes of the blobs by name, as the prototxt states them.
        blobs: the learned blobs to allocate, with their layers.
        device: the device for them.
        training: given if the net is to be trained: then gradients, update history and what the backward pass
            needs count as well.

    Raises:
        NetError: names the layer that needs most.
    """
    there = available(device)
    if there is None:
        return
    tops = {node.module: max((_bytes(shapes[top]) for top in node.tops), default=0) for node in layers}
    need = _Need(tops)
    for layer, blob in blobs:
        size = FLOAT_BYTES * blob.numel()
        need.weights[layer] = need.weights.get(layer, 0) + size
        if training is not None:
            need.gradients += size * blob.requires_grad
            need.history += size * training.history
    if training is not None and need.total() + MOST_KEPT * sum(tops.values()) > there:
        need.kept = training.kept()
    if need.total() <= there:
        return
    worst = max(tops, key=need.of)
    raise worst.error(
        "the net needs more memory than there is",
        found=need.describe(worst),
        expected=f"at most {_size(there)}, the memory that there is",
        advice="make its blobs smaller (num_output, the batch, the image); "
        f"{MAX_MEMORY}=BYTES in the environment sets another limit",
    )


def available(device: torch.device | None = None) -> int | None:
    """The most bytes that a net on `device` can use; None is the CPU. It is RLOSSCTL_MAX_MEMORY, or the
    memory of the machine or container with its swap space, or that of the GPU; None if it is unknown.

    Raises:
        UsageError: the variable does not hold a number.
    """
    text = os.environ.get(MAX_MEMORY)
    if text is not None:
        return _number(text)
    if device is not None and device.type == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    limits = [_machine(), _address_space(), *map(_container, _CONTAINERS)]
    return min((limit for limit in limits if limit is not None), default=None)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(
            "the memory limit is not a number",
            where=f"environment variable {MAX_MEMORY}",
            found=text,
            expected="a whole number of bytes, such as 16000000000",
            advice=f"set {MAX_MEMORY} to a number, or unset it",
        )
    return int(text)


def _machine() -> int | None:
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        return None
    return memory + _swap()


def _swap() -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("SwapTotal:"):
                return int(line.split()[1]) * 1024
    return 0


def _container(path: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):  # the word "max" if there is no limit
        return int(Path(path).read_text())
    return None


def _address_space() -> int | None:
    """`ulimit -v`."""
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _bytes(shape: Shape) -> int:
    return FLOAT_BYTES * prod(shape)


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
