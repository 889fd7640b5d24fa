"""pytorch-segmentation (yassouali, and the RankDice program that builds on it): DeepLab v3+, PSPNet.

Keys of a `.pth`: arch, epoch, state_dict, optimizer, monitor_best, config.
"""

from __future__ import annotations

from collections.abc import Mapping

from rlossctl.converters.importers.source import Source, labels, resnet_depth

from rlossctl.weights.tensors import Entry

LAST = "decoder.output.7.weight"


def _config(tensors: Mapping[str, Entry]) -> tuple[str, dict[str, object]]:
    backbone = "xception" if "backbone.block1.skip.weight" in tensors else "resnet101"
    return f"deeplabv3plus_{backbone}_segmentation", labels(tensors, LAST)


def _pspnet(tensors: Mapping[str, Entry]) -> tuple[str, dict[str, object]]:
    return f"pspnet_resnet{resnet_depth(tensors)}_segmentation", labels(tensors, "master_branch.1.weight")


SOURCES = (
    Source(
        "pytorch-segmentation",
        "DeepLab v3+ of pytorch-segmentation",
        ("ASSP.aspp1.0.weight", LAST),
        _config,
        first=r"backbone\.conv1",
        rename=(
            (r"backbone\.layer0\.0", "backbone.conv1"),
            (r"backbone\.layer0\.1", "backbone.bn1"),
            (r"ASSP\.aspp(\d)\.0", r"aspp.aspp\1.atrous_conv"),
            (r"ASSP\.aspp(\d)\.1", r"aspp.aspp\1.bn"),
            (r"ASSP\.avg_pool\.(\d)", r"aspp.global_avg_pool.\1"),
            (r"ASSP\.(conv1|bn1)", r"aspp.\1"),
            (r"decoder\.output\.0", "decoder.last_conv.0"),
            (r"decoder\.output\.1", "decoder.last_conv.1"),
            (r"decoder\.output\.3", "decoder.last_conv.4"),
            (r"decoder\.output\.4", "decoder.last_conv.5"),
            (r"decoder\.output\.7", "decoder.last_conv.8"),
        ),
    ),
    Source(
        "pytorch-segmentation-pspnet",
        "PSPNet of pytorch-segmentation",
        ("master_branch.0.stages.0.1.weight", "initial.0.6.weight", "layer4.0.conv3.weight"),
        _pspnet,
        first=r"backbone\.conv1\.0",
        rename=(
            (r"initial\.0\.(\d)", r"backbone.conv1.\1"),
            (r"initial\.1", "backbone.bn1"),
            (r"(layer\d\..*)", r"backbone.\1"),
        ),
    ),
)
