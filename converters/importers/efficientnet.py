"""EfficientNet-Lite of efficientnet-lite-pytorch, as a whole net or as the backbone of a DeepLab v3+."""

from __future__ import annotations

from rlossctl.converters.importers.program import Colours, Facts, Fit, Program

CENTRE, WIDTH = 127 / 255, 128 / 255  # (x - 127) / 128, as TensorFlow's original prepares images


def _config(facts: Facts) -> Fit:
    return Fit("imagenet/efficientnet_lite0", {})


def _colours(facts: Facts) -> Colours:
    return Colours((CENTRE,) * 3, (WIDTH,) * 3)


PROGRAMS = (
    Program(
        "efficientnet-lite",
        "EfficientNet-Lite0",
        ("_conv_stem.weight", "_blocks.15._project_conv.weight", "_conv_head.weight"),
        _config,
        first=r"(backbone\.)?_conv_stem",
        colours=_colours,
        absent=("_blocks.0._se_reduce.weight", "_blocks.16._project_conv.weight"),
        head=(r"_conv_head", r"_bn1", r"_fc"),
    ),
)
