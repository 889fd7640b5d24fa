"""Classifiers of torchvision, whose released weights start the backbones: one prototxt each, for inference."""

from __future__ import annotations

from collections.abc import Iterator

from networks import mobilenet, resnets, torch_style
from networks.torch_style import conv_norm

from rlossctl.prototxt.netspec import L, NetSpec, Top

FOLDER = "imagenet"


def nets() -> Iterator[tuple[str, NetSpec]]:
    """File name and net of each."""
    for depth in resnets.BLOCKS:
        yield (
            f"resnet{depth}",
            _classifier(f"resnet{depth}", lambda n, x, d=depth: resnets.trunk(n, x, d)[0], "fc"),
        )
    yield "mobilenet_v2", _classifier("mobilenet_v2", _mobilenet, "classifier.1")


def _mobilenet(n: NetSpec, x: Top) -> Top:
    x, _ = mobilenet.trunk(n, x)
    return conv_norm(n, x, "features.18.0", "features.18.1", 1280, act="relu6", kernel_size=1)


def _classifier(name: str, trunk: object, last: str) -> NetSpec:
    n = NetSpec(name, header=f"torchvision's {name}; images are BGR minus {torch_style.MEAN_BGR}.")
    n.data = L.Input(shape={"dim": [1, 3, 224, 224]})
    n.pool = L.Pooling(trunk(n, torch_style.scaled(n, n.data)), pool="AVE", global_pooling=True)
    n[last] = L.InnerProduct(n.pool, num_output=1000, weight_filler={"type": "xavier"})
    n.prob = L.Softmax(n[last])
    return n
