"""Milliseconds of a dilated depthwise convolution's backward pass on the CPU: torch's, and ours beside it.

    python benchmarks/dilated_depthwise.py --threads 1

The shapes are those of EfficientNet-Lite0's last stage, of the branches of DeepLab v3+'s separable ASPP and
of MobileNet v2, in both memory layouts. The two take turns; each figure is the fastest of the rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.layers.dilated_depthwise import convolve

SHAPES = [  # batch, channels, side, kernel, dilation
    (8, 1152, 13, 5, 2),
    (8, 1152, 13, 3, 2),
    (8, 320, 13, 3, 4),
    (2, 1152, 33, 5, 2),
    (2, 320, 33, 3, 12),
    (1, 960, 65, 3, 2),
    (1, 960, 65, 3, 4),
]
LAYOUTS = {"last": torch.channels_last, "first": torch.contiguous_format}


def backward(convolution: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor) -> float:
    """Seconds of one backward pass."""
    output = convolution(x, weight)
    gradient = torch.ones_like(output)
    started = time.perf_counter()
    torch.autograd.grad(output, (x, weight), gradient)
    return time.perf_counter() - started


def main() -> None:
    """Prints one line for each shape and layout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| input | kernel | dilation | channels | torch, ms | ours, ms | ratio |")
    print("|---|---|---|---|---|---|---|")
    for batch, channels, side, kernel, dilation in SHAPES:
        pad = (dilation * (kernel // 2),) * 2
        gaps = (dilation, dilation)
        for name, layout in LAYOUTS.items():
            x = torch.randn(batch, channels, side, side).to(memory_format=layout).requires_grad_()
            weight = torch.randn(channels, 1, kernel, kernel, requires_grad=True)
            ways = (
                lambda x, w, p=pad, d=gaps, c=channels: F.conv2d(x, w, None, 1, p, d, c),
                lambda x, w, p=pad, d=gaps: convolve(x, w, None, p, d),
            )
            rounds = [[backward(way, x, weight) for way in ways] for _ in range(options.rounds)]
            theirs, ours = (1000 * min(times) for times in zip(*rounds, strict=True))
            print(
                f"| {batch} x {channels} x {side} x {side} | {kernel} | {dilation} | {name} | {theirs:.1f} "
                f"| {ours:.1f} | {theirs / ours:.1f} |"
            )


if __name__ == "__main__":
    main()
