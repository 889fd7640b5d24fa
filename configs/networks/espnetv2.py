"""ESPNetv2 for segmentation (Mehta et al., CVPR 2019), as its authors' EdgeNets builds it for VOC.

Layers are named after the program's modules, so `rlossctl convert`, `eval` and `predict` read its
checkpoints. For sizes 16k. The pyramids pool to sizes that follow the image's.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from rlossctl.configs.networks.common import preset
from rlossctl.configs.networks.program import SEGMENTATION, program
from rlossctl.configs.networks.torch_style import convolution, dilated, norm, resize, scaled
from rlossctl.prototxt.netspec import L, NetSpec, Top

# The program's scale factor -> channels at strides 2, 4, 8 and 16.
CHANNELS = {
    "0.5": (16, 32, 64, 128),
    "1.0": (32, 64, 128, 256),
    "1.25": (32, 80, 160, 320),
    "1.5": (32, 96, 192, 384),
    "2.0": (32, 128, 256, 512),
}
BRANCHES = 4
# Dilations of a block's branches, by the receptive field that the program allows at its stride.
WIDE, NARROW = (1, 2, 3, 4), (1, 1, 2, 3)
DECODER = (64, 48, 32)
PYRAMID = preset("PYRAMID_WIDTH", 10)  # half the number of classes, at most 16
FACTORS = (2.0, 1.5, 1.0, 0.5, 0.1)
SMALLEST = 5  # of a pyramid's sides
IMAGE = 3  # channels of the shrunk image that is added


def _scores(n: NetSpec, channels: tuple[int, ...]) -> None:
    image = scaled(n, n.data)
    n.comment("the image, shrunk again and again")
    small = [image]
    for number in range(1, 5):
        small.append(_shrunk(n, small[-1], f"image{number}"))
    base = "base_net"
    first = _cbr(n, image, f"{base}.level1", channels[0], dilated(3, 1, 2))
    second = _down(n, first, small[2], f"{base}.level2_0", channels[0], channels[1])
    third = _down(n, second, small[3], f"{base}.level3_0", channels[1], channels[2])
    for number in range(3):
        third = _block(n, third, f"{base}.level3.{number}", channels[2], WIDE)
    fourth = _down(n, third, small[4], f"{base}.level4_0", channels[2], channels[3])
    for number in range(7):
        fourth = _block(n, fourth, f"{base}.level4.{number}", channels[3], NARROW)
    x = _pyramid(n, fourth, "bu_dec_l1", DECODER[0])
    skips = zip((third, second, first), channels[2::-1], DECODER, strict=True)
    for level, (skip, inside, width) in enumerate(skips, start=2):
        x = _merged(n, x, skip, level, math.gcd(inside, width), width)
        x = _pyramid(n, x, f"bu_dec_l{level}", DECODER[level - 1] if level < 4 else None)
    resize(n, x, "score", n.data)


def _shrunk(n: NetSpec, x: Top, name: str) -> Top:
    n[name] = L.Pooling(x, pool="AVE", kernel_size=3, stride=2, pad=1, round_mode="FLOOR")
    return n[name]


def _act(n: NetSpec, x: Top, name: str) -> Top:
    n[name] = L.PReLU(x, in_place=True)
    return n[name]


def _cbr(n: NetSpec, x: Top, name: str, width: int | str, fields: dict[str, Any]) -> Top:
    """Convolution, norm and slope, as the base network names them."""
    x = norm(n, convolution(n, x, f"{name}.conv", width, **fields), f"{name}.bn")
    return _act(n, x, f"{name}.act")


def _decoder_cbr(n: NetSpec, x: Top, name: str, width: int | str, fields: dict[str, Any]) -> Top:
    """The same, as the decoder names them."""
    x = norm(n, convolution(n, x, f"{name}.cbr.0", width, **fields), f"{name}.cbr.1")
    return _act(n, x, f"{name}.cbr.2")


def _branches(n: NetSpec, x: Top, name: str, width: int, rates: tuple[int, ...], stride: int) -> Top:
    """Reduce, depthwise convolutions summed from branch to branch, expand; no activation at the end."""
    part = width // BRANCHES
    x = _cbr(n, x, f"{name}.proj_1x1", part, {"kernel_size": 1, "group": BRANCHES})
    outs: list[Top] = []
    for number, rate in enumerate(rates):
        branch = f"{name}.spp_dw.{number}"
        y = convolution(n, x, f"{branch}.conv", part, **dilated(3, rate, stride, group=part))
        if outs:
            n[branch] = y = L.Eltwise(y, outs[-1], operation="SUM")
        outs.append(y)
    n[f"{name}.cat"] = x = L.Concat(*outs)
    x = _act(n, norm(n, x, f"{name}.br_after_cat.bn"), f"{name}.br_after_cat.act")
    x = convolution(n, x, f"{name}.conv_1x1_exp.conv", width, kernel_size=1, group=BRANCHES)
    return norm(n, x, f"{name}.conv_1x1_exp.bn")


def _block(n: NetSpec, x: Top, name: str, width: int, rates: tuple[int, ...]) -> Top:
    y = _branches(n, x, name, width, rates, 1)
    n[name] = y = L.Eltwise(y, x, operation="SUM")
    return _act(n, y, f"{name}.module_act")


def _down(n: NetSpec, x: Top, image: Top, name: str, inside: int, width: int) -> Top:
    """Halves the size: pooled beside a block of stride 2, plus two convolutions of the shrunk image."""
    pooled = _shrunk(n, x, f"{name}.avg")
    y = _branches(n, x, f"{name}.eesp", width - inside, WIDE, 2)
    n[f"{name}.cat"] = y = L.Concat(pooled, y)
    image = _cbr(n, image, f"{name}.inp_reinf.0", IMAGE, dilated(3))
    image = convolution(n, image, f"{name}.inp_reinf.1.conv", width, kernel_size=1)
    n[name] = y = L.Eltwise(y, norm(n, image, f"{name}.inp_reinf.1.bn"), operation="SUM")
    return _act(n, y, f"{name}.act")


def _pyramid(n: NetSpec, x: Top, name: str, width: int | None) -> Top:
    """Depthwise convolutions at five sizes, joined; the last one, without a width, gives the scores."""
    n.comment(f"{name}: a pyramid of sizes")
    x = _decoder_cbr(n, x, f"{name}.projection_layer", PYRAMID, {"kernel_size": 1})
    stages = [_stage(n, x, f"{name}.stages.{number}", factor) for number, factor in enumerate(FACTORS)]
    n[f"{name}.cat"] = y = L.Concat(*stages)
    merge = f"{name}.merge_layer"
    y = _act(n, norm(n, y, f"{merge}.0.br.0"), f"{merge}.0.br.1")
    n[f"{merge}.1"] = y = L.ShuffleChannel(y, group=len(FACTORS))
    y = _decoder_cbr(n, y, f"{merge}.2", PYRAMID, {**dilated(3), "group": PYRAMID})
    if width is None:
        return convolution(n, y, f"{merge}.3", "${NUM_LABELS}", kernel_size=1, bias_term=True)
    y = norm(n, convolution(n, y, f"{merge}.3", width, kernel_size=1), f"{name}.br.br.0")
    return _act(n, y, f"{name}.br.br.1")


def _stage(n: NetSpec, x: Top, name: str, factor: float) -> Top:
    """A depthwise convolution of the map at another size, brought back."""
    y = x
    if factor > 1:
        n[f"{name}.larger"] = y = L.Interp(x, factor=factor, at_least=SMALLEST)
    elif factor < 1:
        n[f"{name}.smaller"] = y = L.AdaptivePooling(x, factor=factor, at_least=SMALLEST)
    y = convolution(n, y, name, PYRAMID, **{**dilated(3), "group": PYRAMID})
    if factor > 1:
        n[f"{name}.back"] = y = L.AdaptivePooling(y, x)
    elif factor < 1:
        y = resize(n, y, f"{name}.back", x)
    return y


def _merged(n: NetSpec, x: Top, skip: Top, level: int, groups: int, width: int) -> Top:
    """The decoder's map, doubled, plus the encoder's times a gate from its mean."""
    name = f"merge_enc_dec_l{level}"
    n.comment(f"decoder, step {level}")
    n[f"{name}.mean"] = gate = L.Pooling(skip, pool="AVE", global_pooling=True)
    n[f"{name}.gate"] = gate = L.Sigmoid(convolution(n, gate, f"{name}.wt_layer.1", width, kernel_size=1))
    y = _decoder_cbr(n, skip, f"{name}.expansion_layer", width, {**dilated(3), "group": groups})
    n[f"{name}.flat"] = gate = L.Flatten(gate)
    n[name] = y = L.Scale(y, gate, axis=0)
    x = resize(n, x, f"{name}.double", y)
    n[f"bu_l{level}"] = x = L.Eltwise(y, x, operation="SUM")
    return _act(n, norm(n, x, f"bu_br_l{level}.0"), f"bu_br_l{level}.1")


NETWORKS = tuple(
    program(
        f"espnetv2_s{scale}",
        f"ESPNetv2 with scale {scale}, as in EdgeNets.",
        __name__,
        partial(_scores, channels=channels),
        size=384,
        crop=384,
        training=SEGMENTATION,
        start="EdgeNets' checkpoint",
        backbone=("base_net.",),
    )
    for scale, channels in CHANNELS.items()
)
