"""How much memory a net needs at least and how much there is, computed before any is allocated."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.errors import UsageError

if TYPE_CHECKING:
    import torch

    from rlossctl.net.layer import Layer, Shape
    from rlossctl.net.walk import LayerNode

MAX_MEMORY = "RLOSSCTL_MAX_MEMORY"  # environment variable: bytes that a net may use, instead of the machine's
MAX_VALUES = 2**60  # of one blob: beyond, torch cannot count the bytes
FLOAT_BYTES = 4
# Where Linux keeps the limit of a container: cgroups of version 2 and 1.
_CONTAINERS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def shape_fault(shape: Sequence[int]) -> str | None:
    """What is wrong with a blob's shape: negative, or more than MAX_VALUES; None if it is fine."""
    if any(size < 0 for size in shape):
        return "has a negative size"
    if prod(size for size in shape if size) > MAX_VALUES:
        return "is too large"
    return None


def require(
    layers: Iterable[LayerNode],
    shapes: Mapping[str, Shape],
    blobs: Iterable[tuple[Layer, torch.Tensor]],
    device: torch.device,
) -> None:
    """Refuses a net that cannot fit. A pass needs at least its learned blobs and its largest other blob.

    Args:
        layers: all layers, with the names of their tops.
        shapes: shapes of the blobs by name, as the prototxt states them.
        blobs: the learned blobs to allocate, with their layers.
        device: the device for them.

    Raises:
        NetError: names the layer that needs most.
    """
    there = available(device)
    if there is None:
        return
    weights: dict[Layer, int] = {}
    for layer, blob in blobs:
        weights[layer] = weights.get(layer, 0) + FLOAT_BYTES * blob.numel()
    tops = {node.module: max((_bytes(shapes[top]) for top in node.tops), default=0) for node in layers}
    need = sum(weights.values()) + max(tops.values(), default=0)
    if need <= there:
        return
    worst = max(tops, key=lambda layer: weights.get(layer, 0) + tops[layer])
    raise worst.error(
        "the net needs more memory than there is",
        found=f"{_size(need)} at least; this layer: {_size(weights.get(worst, 0))} of weights, "
        f"tops of up to {_size(tops[worst])}",
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
