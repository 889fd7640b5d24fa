"""The PyTorch program in meng-tang/rloss, based on pytorch-deeplab-xception: DeepLab v3+ on four backbones.

Keys of a `.pth.tar`: epoch, state_dict, optimizer, best_pred. Our layers are named after its modules.
"""

from __future__ import annotations

from rlossctl.converters.importers.program import Facts, Fit, Program, labels, strided

ASPP = "aspp.aspp1.atrous_conv.weight"
BACKBONES = {
    "mobilenet": "backbone.features.0.0.weight",
    "xception": "backbone.block1.skip.weight",
    "drn": "backbone.layer0.0.weight",
    "resnet101": "backbone.layer1.0.conv1.weight",
}
# The MobileNet holds its blocks a second time, under the names of the two parts that its forward runs.
TWICE = ((r"backbone\.(?:low|high)_level_features\.(.*)", r"backbone.features.\1"),)


def _config(facts: Facts) -> Fit:
    tensors = facts.tensors
    backbone = next((name for name, mark in BACKBONES.items() if mark in tensors), "resnet101")
    last = "decoder.last_conv.8.weight"
    classes = labels(tensors, last if last in tensors else "decoder.last_conv.6.weight")
    network = f"deeplabv3plus_{backbone}"
    return Fit(network, classes) if backbone == "drn" else strided(facts, network, classes)


PROGRAMS = (
    Program(
        "rloss",
        "DeepLab v3+ of the rloss program",
        (ASPP, "decoder.last_conv.8.weight"),
        _config,
        first=r"backbone\.(conv1|layer0\.0|features\.0\.0)",
        aliases=TWICE,
    ),
    Program(
        "rloss-without-dropout",
        "DeepLab v3+ of pytorch-deeplab-xception before it had Dropout",
        (ASPP, "decoder.last_conv.6.weight"),
        _config,
        first=r"backbone\.(conv1|layer0\.0|features\.0\.0)",
        aliases=TWICE,
        rename=tuple(
            (rf"decoder\.last_conv\.{old}", f"decoder.last_conv.{new}")
            for old, new in ((3, 4), (4, 5), (6, 8))
        ),
    ),
)
