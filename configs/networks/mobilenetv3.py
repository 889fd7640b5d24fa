"""MobileNetV3-Large (Howard et al. 2019), as torchvision builds it. Layers are named after its modules."""

from __future__ import annotations

from typing import Any, NamedTuple

from rlossctl.configs.networks.torch_style import convolution, dilated, norm, relu
from rlossctl.prototxt.netspec import L, NetSpec, Top


class Step(NamedTuple):
    """An inverted residual: kernel, expanded channels, channels, gate or not, hard swish or not, stride."""

    kernel: int
    hidden: int
    width: int
    gate: bool = False
    swish: bool = True
    stride: int = 1


STEPS = (
    Step(3, 16, 16, swish=False),
    Step(3, 64, 24, swish=False, stride=2),
    Step(3, 72, 24, swish=False),
    Step(5, 72, 40, gate=True, swish=False, stride=2),
    Step(5, 120, 40, gate=True, swish=False),
    Step(5, 120, 40, gate=True, swish=False),
    Step(3, 240, 80, stride=2),
    Step(3, 200, 80),
    Step(3, 184, 80),
    Step(3, 184, 80),
    Step(3, 480, 112, gate=True),
    Step(3, 672, 112, gate=True),
    Step(5, 672, 160, gate=True, stride=2),
    Step(5, 960, 160, gate=True),
    Step(5, 960, 160, gate=True),
)
EPS = 1e-3
DILATED_FROM = 13  # the last three blocks are dilated, which leaves stride 16
LOW = 4  # the first block at stride 8
FEATURES = 960


def trunk(n: NetSpec, x: Top, prefix: str) -> tuple[Top, Top]:
    """Stem and blocks at stride 16, with dilation 2 at the end.

    Returns:
        The 960 channels of the last convolution, and the 40 channels at stride 8.
    """
    x = low = _layer(n, x, f"{prefix}0", 16, True, dilated(3, 1, 2))
    width = 16
    for number, step in enumerate(STEPS, start=1):
        x = _block(n, x, f"{prefix}{number}", width, step, 2 if number >= DILATED_FROM else 1)
        width, low = step.width, x if number == LOW else low
    return _layer(n, x, f"{prefix}{len(STEPS) + 1}", FEATURES, True, {"kernel_size": 1}), low


def _block(n: NetSpec, x: Top, name: str, inside: int, step: Step, dilation: int) -> Top:
    stride = 1 if dilation > 1 else step.stride
    number, y = 0, x
    if step.hidden != inside:
        y = _layer(n, y, f"{name}.block.0", step.hidden, step.swish, {"kernel_size": 1})
        number = 1
    spatial = dilated(step.kernel, dilation, stride, group=step.hidden)
    y = _layer(n, y, f"{name}.block.{number}", step.hidden, step.swish, spatial)
    if step.gate:
        number += 1
        y = _gated(n, y, f"{name}.block.{number}", step.hidden)
    y = _layer(n, y, f"{name}.block.{number + 1}", step.width, None, {"kernel_size": 1})
    if step.stride == 1 and inside == step.width:
        n[name] = y = L.Eltwise(x, y, operation="SUM")
    return y


def _layer(n: NetSpec, x: Top, name: str, width: int, swish: bool | None, fields: dict[str, Any]) -> Top:
    """Convolution, norm, then hard swish, ReLU or (None) nothing."""
    x = norm(n, convolution(n, x, f"{name}.0", width, **fields), f"{name}.1", EPS)
    return x if swish is None else hard_swish(n, x, f"{name}.2") if swish else relu(n, x, f"{name}.2")


def hard_swish(n: NetSpec, x: Top, name: str) -> Top:
    """Hard swish in place."""
    n[name] = L.HardSwish(x, in_place=True)
    return n[name]


def _gated(n: NetSpec, x: Top, name: str, width: int) -> Top:
    """Squeeze and excitation: each channel times a factor from all channels' means."""
    n[f"{name}.mean"] = gate = L.Pooling(x, pool="AVE", global_pooling=True)
    squeezed = _divisible(width // 4)
    gate = convolution(n, gate, f"{name}.fc1", squeezed, kernel_size=1, bias_term=True)
    gate = convolution(n, relu(n, gate, f"{name}.relu"), f"{name}.fc2", width, kernel_size=1, bias_term=True)
    n[f"{name}.gate"] = gate = L.HardSigmoid(gate)
    n[f"{name}.flat"] = gate = L.Flatten(gate)
    n[name] = L.Scale(x, gate, axis=0)
    return n[name]


def _divisible(channels: int) -> int:
    """The nearest multiple of 8, and not below 90 % of the number."""
    found = max(8, (channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found
