"""DeepLab v3+: a dilated backbone, atrous spatial pyramid pooling, a decoder that adds features at stride 4.

The networks of the rloss program for PyTorch, of pytorch-segmentation and of the Gated CRF loss, layer by
layer, named after the modules of the first. `rlossctl convert` reads their checkpoints (docs/import.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from networks import drn, mobilenet, resnets, torch_style, xception
from networks.program import Network
from networks.torch_style import HEAD_RATE, classifier, conv_norm, dilated, dropout, resize

from rlossctl.prototxt.netspec import L, NetSpec, Top

WIDTH = 256


@dataclass(frozen=True)
class Design:
    """One network of this kind.

    Attributes:
        trunk: adds the backbone; returns its features and those at stride 4.
        stride: of the features (16 or 8).
        low_first: the decoder joins the features at stride 4 before the others, not behind them.
        aligned: zooms align corners, which fits sizes 16k + 1; otherwise pixel areas, for any size.
        dropout: of the ASPP's result and of the decoder's two convolutions; 0 for none.
    """

    trunk: Callable[[NetSpec, Top], tuple[Top, Top]]
    stride: int = 16
    low_first: bool = False
    aligned: bool = True
    dropout: tuple[float, float, float] = (0.5, 0.5, 0.1)


def _network(folder: str, about: str, *design: object, **fields: object) -> Network:
    made = Design(*design, **fields)
    return Network(
        folder, about, "deeplabv3plus", partial(_scores, design=made), crop=513 if made.aligned else 512
    )


def _scores(n: NetSpec, design: Design) -> None:
    x, low = design.trunk(n, torch_style.scaled(n, n.data))
    x = _aspp(n, x, design)
    n.comment("decoder")
    low = _head(n, low, "decoder.conv1", "decoder.bn1", 48, kernel_size=1)
    x = _zoom(n, x, "aspp.zoom", design.stride // 4, low, design)
    n["decoder.concat"] = x = L.Concat(*((low, x) if design.low_first else (x, low)))
    for number, ratio in zip((0, 4), design.dropout[1:], strict=True):
        name = f"decoder.last_conv.{number}"
        x = _head(n, x, name, f"decoder.last_conv.{number + 1}", WIDTH, **dilated(3))
        x = _dropout(n, x, name, ratio)
    _zoom(n, classifier(n, x, "decoder.last_conv.8"), "score", 4, n.data, design)


def _aspp(n: NetSpec, x: Top, design: Design) -> Top:
    branches = []
    for number, rate in enumerate((0, 6, 12, 18), start=1):
        n.comment(
            f"ASPP, branch {number}: " + (f"dilation {rate * 16 // design.stride}" if rate else "1 x 1")
        )
        name = f"aspp.aspp{number}"
        fields = dilated(3, rate * 16 // design.stride) if rate else {"kernel_size": 1}
        branches.append(_head(n, x, f"{name}.atrous_conv", f"{name}.bn", WIDTH, **fields))
    n.comment("ASPP, branch 5: the mean of the image, at every pixel")
    n["aspp.pool"] = pool = L.Pooling(x, pool="AVE", global_pooling=True)
    name = "aspp.global_avg_pool"
    pool = _head(n, pool, f"{name}.1", f"{name}.2", WIDTH, kernel_size=1)
    n["aspp.mean"] = pool = L.Flatten(pool)
    n["aspp.zeros"] = L.Power(branches[0], scale=0)
    n["aspp.image"] = L.Bias(n["aspp.zeros"], pool, axis=0)
    n.comment("ASPP, joined")
    n["aspp.concat"] = x = L.Concat(*branches, n["aspp.image"])
    x = _head(n, x, "aspp.conv1", "aspp.bn1", WIDTH, kernel_size=1)
    return _dropout(n, x, "aspp", design.dropout[0])


def _head(n: NetSpec, x: Top, conv: str, bn: str, width: int, **fields: int) -> Top:
    return conv_norm(n, x, conv, bn, width, rate=HEAD_RATE, **fields)


def _dropout(n: NetSpec, x: Top, name: str, ratio: float) -> Top:
    return dropout(n, x, f"{name}.dropout", ratio) if ratio else x


def _zoom(n: NetSpec, x: Top, name: str, factor: int, like: Top, design: Design) -> Top:
    """Bilinear by `factor`, or to the size of `like` by pixel areas."""
    if not design.aligned:
        return resize(n, x, name, like, aligned=False)
    n[name] = L.Interp(x, zoom_factor=factor)
    return n[name]


_RLOSS = "DeepLab v3+ on {} with output stride {}, as in the rloss program for PyTorch."
_OTHER = "DeepLab v3+ on {} with output stride 16, as in {}."
_resnet = partial(resnets.trunk, prefix="backbone.", strides=(1, 2, 2, 1))

NETWORKS = (
    _network(
        "deeplabv3plus_mobilenet",
        _RLOSS.format("MobileNetV2", 16),
        partial(mobilenet.trunk, prefix="backbone.", output_stride=16, pad_first=True),
    ),
    _network(
        "deeplabv3plus_resnet101",
        _RLOSS.format("ResNet-101", 16),
        partial(_resnet, depth=101, dilations=(1, 1, 1, (2, 4, 8))),
    ),
    _network(
        "deeplabv3plus_xception", _RLOSS.format("Xception", 16), partial(xception.trunk, prefix="backbone.")
    ),
    _network(
        "deeplabv3plus_drn", _RLOSS.format("DRN-D-54", 8), partial(drn.trunk, prefix="backbone."), stride=8
    ),
    _network(
        "deeplabv3plus_resnet101_segmentation",
        _OTHER.format("ResNet-101", "pytorch-segmentation"),
        partial(_resnet, depth=101, dilations=(1, 1, 1, 2)),
        low_first=True,
        dropout=(0.5, 0, 0.1),
    ),
    _network(
        "deeplabv3plus_xception_segmentation",
        _OTHER.format("Xception", "pytorch-segmentation"),
        partial(xception.trunk, prefix="backbone.", early_low=True),
        low_first=True,
        dropout=(0.5, 0, 0.1),
    ),
    *(
        _network(
            f"deeplabv3plus_resnet{depth}_gatedcrf",
            _OTHER.format(f"ResNet-{depth}", "the program of the Gated CRF loss"),
            partial(_resnet, depth=depth, dilations=(1, 1, 1, 2)),
            aligned=False,
            dropout=(0, 0, 0),
        )
        for depth in (34, 50, 101)
    ),
)
