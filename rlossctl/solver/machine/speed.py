"""How a training runs, beside what it computes: layout, CUDA graphs, torch.compile, kernels."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch

from rlossctl.errors import UsageError
from rlossctl.net import Net
from rlossctl.net.compiled import Compiled
from rlossctl.words import counted


@dataclass(frozen=True)
class Speed:
    """What is on.

    Attributes:
        channels_last: images and weights lie with their channels last; None: on a GPU. Dropout draws in the
            order of memory, so that its zeros fall elsewhere.
        cuda_graphs: passes are captured once and replayed, for inputs of one size.
        compiled: torch.compile joins the training net's layers.
    """

    channels_last: bool | None = None
    cuda_graphs: bool = False
    compiled: bool = False

    def on(self, device: torch.device) -> Speed:
        """What is on for this device.

        Raises:
            UsageError: CUDA graphs without a GPU.
        """
        if self.cuda_graphs and device.type != "cuda":
            raise UsageError(
                "CUDA graphs need a GPU",
                found=f"--cuda-graphs, device {device}",
                expected="a CUDA device",
                advice="leave out --cuda-graphs, or choose the GPU with --device",
            )
        wanted = device.type == "cuda" if self.channels_last is None else self.channels_last
        return replace(self, channels_last=wanted)

    def prepare(self, net: Net) -> None:
        """Lays out a net that was just built; nets that share its weights follow."""
        if self.channels_last:
            net.use_channels_last()


def choose_kernels(net: Net) -> None:
    """Lets cuDNN measure its convolutions once for each shape, where the data has one shape."""
    if net.device.type == "cuda":
        torch.backends.cudnn.benchmark = True


def described(net: Net, speed: Speed) -> str:
    """Precision, memory format and what makes it fast, in words."""
    parts = ["channels last" if net.channels_last else "channels first"]
    precision = "float32" if net.precision is None else str(net.precision).removeprefix("torch.")
    if net.device.type == "cuda":
        rounding = "TF32" if torch.backends.cudnn.allow_tf32 else "full float32"
        parts.append(f"float32 convolutions in {rounding}")
        parts.append(f"cuDNN {'measures' if torch.backends.cudnn.benchmark else 'guesses'} its kernels")
        parts.append(f"CUDA graphs {'on' if speed.cuda_graphs else 'off'}")
    elif os.environ.get("THP_MEM_ALLOC_ENABLE") == "1":
        parts.append("huge pages (THP_MEM_ALLOC_ENABLE=1)")
    if speed.compiled:
        parts.append(compiled(net))
    return ", ".join([precision, *parts])


def compiled(net: Net) -> str:
    """What torch.compile joins, in words."""
    joined = [layer.module.layers for _, layer in net.compiled if isinstance(layer.module, Compiled)]
    if not joined:
        return "torch.compile has nothing to join"
    layers = f"{sum(map(len, joined))} of {counted(len(net.layers), 'layer')}"
    parts = f" in {len(joined)} parts" if len(joined) > 1 else ""
    return f"torch.compile joins {layers}{parts}, in the first iteration, which takes a while"
