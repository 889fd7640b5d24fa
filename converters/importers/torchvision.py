"""torchvision's networks for segmentation; its classifiers, whole or as the backbone of another net."""

from __future__ import annotations

from collections.abc import Callable

from rlossctl.converters.importers.program import Facts, Fit, Program, labels, resnet_depth

LAST = "classifier.4.weight"
RESNET, MOBILENET = "backbone.conv1.weight", "backbone.0.0.weight"
DEEPLAB = "classifier.0.convs.0.0.weight"
AUXILIARY = r"aux_classifier(\..*)?"


def _resnet(facts: Facts) -> Fit:
    return Fit(f"imagenet/resnet{resnet_depth(facts.tensors)}", {})


def _mobilenet(facts: Facts) -> Fit:
    return Fit("imagenet/mobilenet_v2", {})


def _on_resnet(name: str) -> Callable[[Facts], Fit]:
    def config(facts: Facts) -> Fit:
        depth = resnet_depth(facts.tensors, "backbone.", known=(50, 101))
        return Fit(f"{name}_resnet{depth}_torchvision", labels(facts.tensors, LAST))

    return config


def _on_mobilenet(name: str, last: str) -> Callable[[Facts], Fit]:
    return lambda facts: Fit(f"{name}_mobilenet_v3_large_torchvision", labels(facts.tensors, last))


PROGRAMS = (
    Program(
        "torchvision-deeplabv3-resnet",
        "torchvision's DeepLab v3 on a ResNet",
        (RESNET, DEEPLAB, LAST),
        _on_resnet("deeplabv3"),
        first=r"backbone\.conv1",
        idle=(AUXILIARY,),
    ),
    Program(
        "torchvision-fcn-resnet",
        "torchvision's FCN on a ResNet",
        (RESNET, "classifier.0.weight", LAST),
        _on_resnet("fcn"),
        first=r"backbone\.conv1",
        idle=(AUXILIARY,),
    ),
    Program(
        "torchvision-deeplabv3-mobilenet",
        "torchvision's DeepLab v3 on MobileNetV3-Large",
        (MOBILENET, DEEPLAB, LAST),
        _on_mobilenet("deeplabv3", LAST),
        first=r"backbone\.0\.0",
        idle=(AUXILIARY,),
    ),
    Program(
        "torchvision-lraspp",
        "torchvision's LR-ASPP on MobileNetV3-Large",
        (MOBILENET, "classifier.low_classifier.weight"),
        _on_mobilenet("lraspp", "classifier.low_classifier.weight"),
        first=r"backbone\.0\.0",
    ),
    Program(
        "torchvision-resnet",
        "torchvision's ResNet",
        ("conv1.weight", "bn1.running_mean", "layer4.1.conv2.weight"),
        _resnet,
        first=r"((backbone|encoder)\.)?conv1",
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
