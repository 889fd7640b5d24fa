"""torchvision's classifiers, as a whole net or as the backbone of a DeepLab v3+."""

from __future__ import annotations

from rlossctl.converters.importers.program import Facts, Fit, Program, resnet_depth


def _resnet(facts: Facts) -> Fit:
    return Fit(f"imagenet/resnet{resnet_depth(facts.tensors)}", {})


def _mobilenet(facts: Facts) -> Fit:
    return Fit("imagenet/mobilenet_v2", {})


PROGRAMS = (
    Program(
        "torchvision-resnet",
        "torchvision's ResNet",
        ("conv1.weight", "bn1.running_mean", "layer4.1.conv2.weight"),
        _resnet,
        first=r"(backbone\.)?conv1",
        head=(r"fc",),
    ),
    Program(
        "torchvision-mobilenet",
        "torchvision's MobileNetV2",
        ("features.0.0.weight", "features.1.conv.0.0.weight", "features.18.0.weight"),
        _mobilenet,
        first=r"(backbone\.)?features\.0\.0",
        rename=(
            (r"features\.1\.conv\.0\.([01])", r"features.1.conv.\1"),
            (r"features\.1\.conv\.1", "features.1.conv.3"),
            (r"features\.1\.conv\.2", "features.1.conv.4"),
            (r"features\.(\d+)\.conv\.0\.([01])", r"features.\1.conv.\2"),
            (r"features\.(\d+)\.conv\.1\.0", r"features.\1.conv.3"),
            (r"features\.(\d+)\.conv\.1\.1", r"features.\1.conv.4"),
            (r"features\.(\d+)\.conv\.2", r"features.\1.conv.6"),
            (r"features\.(\d+)\.conv\.3", r"features.\1.conv.7"),
        ),
        head=(r"features\.18\..*", r"classifier\..*"),
    ),
)
