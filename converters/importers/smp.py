"""segmentation_models.pytorch: Unet and DeepLab v3+ on ResNets, with its default settings."""

from __future__ import annotations

from collections.abc import Callable

from rlossctl.converters.importers.program import Facts, Fit, Program, labels, resnet_depth

FIRST, LAST = "encoder.conv1.weight", "segmentation_head.0.weight"


def _config(name: str, *known: int) -> Callable[[Facts], Fit]:
    def config(facts: Facts) -> Fit:
        depth = resnet_depth(facts.tensors, "encoder.", known=known)
        return Fit(f"{name}_resnet{depth}_smp", labels(facts.tensors, LAST))

    return config


PROGRAMS = (
    Program(
        "smp-unet",
        "Unet of segmentation_models.pytorch",
        (FIRST, "decoder.blocks.0.conv1.0.weight", LAST),
        _config("unet", 50, 18, 34, 101),
        first=r"encoder\.conv1",
    ),
    Program(
        "smp-deeplabv3plus",
        "DeepLab v3+ of segmentation_models.pytorch",
        (FIRST, "decoder.aspp.0.convs.1.0.0.weight", "decoder.block2.0.0.weight", LAST),
        _config("deeplabv3plus", 50, 101),
        first=r"encoder\.conv1",
    ),
)
