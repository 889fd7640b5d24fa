"""DeepLab v3+: a dilated backbone, atrous spatial pyramid pooling and a decoder that adds features at stride 4.

The networks of the rloss program for PyTorch, of pytorch-segmentation and of the Gated CRF loss, layer by layer,
named after the modules of the first. `rlossctl convert` reads their checkpoints (docs/import.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from networks import common, drn, mobilenet, resnets, torch_style, xception
from networks.torch_style import conv_norm, convolution, dilated

from rlossctl.prototxt.netspec import L, NetSpec, Top

WIDTH = 256
SCALES = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]
HEAD_RATE = 10  # of ASPP and decoder, in units of the backbone's


@dataclass(frozen=True)
class Design:
    """One network of this kind.

    Attributes:
        folder: in configs/.
        about: the header of the prototxts.
        trunk: adds the backbone; returns its features and those at stride 4.
        stride: of the features (16 or 8).
        low_first: the decoder joins the features at stride 4 before the others, not behind them.
        aligned: zooms align corners, which fits sizes 16k + 1; otherwise pixel areas, which fits 16k.
        dropout: of the ASPP's result and of the decoder's two convolutions; 0 for none.
    """

    folder: str
    about: str
    trunk: Callable[[NetSpec, Top], tuple[Top, Top]]
    stride: int = 16
    low_first: bool = False
    aligned: bool = True
    dropout: tuple[float, float, float] = (0.5, 0.5, 0.1)

    __name__ = "networks.deeplabv3plus"  # where the prototxts say they come from

    @property
    def FOLDER(self) -> str:
        return self.folder

    @property
    def SOLVERS(self) -> dict[str, dict[str, object]]:
        return SOLVERS

    def train_net(self, densecrf: bool) -> NetSpec:
        return _train_net(self, densecrf)

    def test_net(self) -> NetSpec:
        return _test_net(self)


def _train_net(design: Design, densecrf: bool) -> NetSpec:
    n = NetSpec("${NET_ID}", header=design.about)
    crop = 513 if design.aligned else 512
    common.train_data(n, batch_size=12, crop_size=crop, mean_value=torch_style.MEAN_BGR, scale_factors=SCALES)
    score = _score(n, design)
    n.comment("cross-entropy at full resolution, as scribbles are thin")
    _zoom(n, score, "score", 4, design)
    common.cross_entropy(n, "loss", n.score, n.label)
    if densecrf:
        n.comment("DenseCRF loss on every second pixel: deviations are in pixels of that image")
        n.data_half = L.Interp(n.data, shrink_factor=2)
        n.score_half = L.Interp(n.score, shrink_factor=2)
        n.score_half_softmax = L.Softmax(n.score_half)
        n.densecrf_loss = L.DenseCRFLoss(
            n.data_half,
            n.score_half_softmax,
            propagate_down=[False, True],
            loss_weight="${DENSECRF_LOSS_WEIGHT}",
            bi_xy_std="${BI_XY_STD}",
            bi_rgb_std="${BI_RGB_STD}",
        )
    common.train_accuracy(n, "accuracy", n.score, n.label)
    return n


def _test_net(design: Design) -> NetSpec:
    n = NetSpec("${NET_ID}", header=design.about)
    common.test_data(n, crop_size=513 if design.aligned else 512, mean_value=torch_style.MEAN_BGR)
    _zoom(n, _score(n, design), "score", 4, design)
    common.test_accuracy(n, "accuracy", n.score)
    n.silence = L.Silence(n.data_dim, ntop=0)
    return n


def _score(n: NetSpec, design: Design) -> Top:
    x, low = design.trunk(n, torch_style.scaled(n, n.data))
    x = _aspp(n, x, design)
    n.comment("decoder")
    low = _head(n, low, "decoder.conv1", "decoder.bn1", 48, kernel_size=1)
    x = _zoom(n, x, "aspp.zoom", design.stride // 4, design)
    n["decoder.concat"] = x = L.Concat(*((low, x) if design.low_first else (x, low)))
    for number, ratio in zip((0, 4), design.dropout[1:], strict=True):
        name = f"decoder.last_conv.{number}"
        x = _head(n, x, name, f"decoder.last_conv.{number + 1}", WIDTH, **dilated(3))
        x = _dropout(n, x, name, ratio)
    name = "decoder.last_conv.8"
    return convolution(n, x, name, "${NUM_LABELS}", HEAD_RATE, kernel_size=1, bias_term=True)


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
    if not ratio:
        return x
    n[f"{name}.dropout"] = L.Dropout(x, in_place=True, dropout_ratio=ratio)
    return n[f"{name}.dropout"]


def _zoom(n: NetSpec, x: Top, name: str, factor: int, design: Design) -> Top:
    """Bilinear by `factor`. By pixel areas: a fixed deconvolution, divided by what it makes of ones, so that
    the border repeats the outermost pixels as PyTorch's does."""
    if design.aligned:
        n[name] = L.Interp(x, zoom_factor=factor)
        return n[name]
    channels = "${NUM_LABELS}" if name == "score" else WIDTH

    def spread(x: Top, of: str) -> Top:
        n[f"{name}.{of}"] = L.Deconvolution(
            x,
            param={"lr_mult": 0, "decay_mult": 0},
            num_output=channels,
            bias_term=False,
            kernel_size=2 * factor,
            stride=factor,
            pad=factor // 2,
            group=channels,
            weight_filler={"type": "bilinear"},
        )
        return n[f"{name}.{of}"]

    n[f"{name}.ones"] = L.Power(x, scale=0, shift=1)
    values, weight = spread(x, "spread"), spread(n[f"{name}.ones"], "weight")
    n[f"{name}.inverse"] = L.Power(weight, power=-1)
    n[name] = L.Eltwise(values, n[f"{name}.inverse"], operation="PROD")
    return n[name]


_SCHEDULE = {
    "lr_policy": "poly",
    "power": 0.9,
    "average_loss": 20,
    "display": 20,
    "base_lr": 0.007,
    "max_iter": 50000,
}
SOLVERS = {
    "solver": common.solver("train", **_SCHEDULE),
    "solverwithdensecrfloss": common.solver("trainwithdensecrfloss", **_SCHEDULE, seed=1),
}

_RLOSS = "DeepLab v3+ on {} with output stride {}, as in the rloss program for PyTorch."
_OTHER = "DeepLab v3+ on {} with output stride 16, as in {}."
_resnet = partial(resnets.trunk, prefix="backbone.", strides=(1, 2, 2, 1))

NETWORKS = (
    Design(
        "deeplabv3plus_mobilenet",
        _RLOSS.format("MobileNetV2", 16),
        partial(mobilenet.trunk, prefix="backbone.", output_stride=16, pad_first=True),
    ),
    Design(
        "deeplabv3plus_resnet101",
        _RLOSS.format("ResNet-101", 16),
        partial(_resnet, depth=101, dilations=(1, 1, 1, (2, 4, 8))),
    ),
    Design(
        "deeplabv3plus_xception", _RLOSS.format("Xception", 16), partial(xception.trunk, prefix="backbone.")
    ),
    Design(
        "deeplabv3plus_drn", _RLOSS.format("DRN-D-54", 8), partial(drn.trunk, prefix="backbone."), stride=8
    ),
    Design(
        "deeplabv3plus_resnet101_segmentation",
        _OTHER.format("ResNet-101", "pytorch-segmentation"),
        partial(_resnet, depth=101, dilations=(1, 1, 1, 2)),
        low_first=True,
        dropout=(0.5, 0, 0.1),
    ),
    Design(
        "deeplabv3plus_xception_segmentation",
        _OTHER.format("Xception", "pytorch-segmentation"),
        partial(xception.trunk, prefix="backbone.", early_low=True),
        low_first=True,
        dropout=(0.5, 0, 0.1),
    ),
    *(
        Design(
            f"deeplabv3plus_resnet{depth}_gatedcrf",
            _OTHER.format(f"ResNet-{depth}", "the program of the Gated CRF loss"),
            partial(_resnet, depth=depth, dilations=(1, 1, 1, 2)),
            aligned=False,
            dropout=(0, 0, 0),
        )
        for depth in (34, 50, 101)
    ),
)
