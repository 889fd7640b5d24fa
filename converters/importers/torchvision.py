"""torchvision's classifiers: a whole net of configs/imagenet/, or the backbone of a DeepLab v3+."""

from __future__ import annotations

from collections.abc import Mapping

from rlossctl.converters.importers.source import Source

from rlossctl.weights.tensors import Entry

# bottleneck or not, and the blocks of the third stage -> depth
DEPTHS = {(False, 2): 18, (False, 6): 34, (True, 6): 50, (True, 23): 101, (True, 36): 152}


def _resnet(tensors: Mapping[str, Entry]) -> tuple[str, dict[str, object]]:
    blocks = {name.split(".")[1] for name in tensors if name.startswith("layer3.")}
    depth = DEPTHS.get(("layer1.0.conv3.weight" in tensors, len(blocks)), 50)
    return f"imagenet/resnet{depth}.prototxt", {}


def _mobilenet(tensors: Mapping[str, Entry]) -> tuple[str, dict[str, object]]:
    return "imagenet/mobilenet_v2.prototxt", {}


SOURCES = (
    Source(
        "torchvision-resnet",
        "torchvision's ResNet",
        ("conv1.weight", "bn1.running_mean", "layer4.1.conv2.weight"),
        _resnet,
        first=r"(backbone\.)?conv1",
        head=(r"fc",),
    ),
    Source(
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
