"""SegNet: VGG-16 with batch normalisation, and its mirror image, which puts values back to where pooling
found them; and its variant on ResNet-50, with one such pooling and deconvolutions.

These are pytorch-segmentation's networks, layer by layer, for sizes 32k. There, decoder layers of the first
reuse encoder layers of the same width; here each layer has its own blobs. `rlossctl convert` reads the
checkpoints of both (docs/import.md).
"""

from __future__ import annotations

from typing import Any

from rlossctl.configs.networks import resnets
from rlossctl.configs.networks.program import program
from rlossctl.configs.networks.torch_style import conv_norm, convolution, dilated, norm, relu, scaled
from rlossctl.prototxt.netspec import L, NetSpec, Top

ENCODER = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
DECODER = ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64, 64))


def _scores(n: NetSpec) -> None:
    x, masks = scaled(n, n.data), []
    for stage, widths in enumerate(ENCODER, start=1):
        x = _stage(n, x, f"stage{stage}_encoder", widths)
        name = f"pool{stage}"
        n[name], n[f"{name}_mask"] = L.Pooling(x, ntop=2, name=name, pool="MAX", kernel_size=2, stride=2)
        x = n[name]
        masks.append(n[f"{name}_mask"])
    for stage, (widths, mask) in enumerate(zip(DECODER, masks[::-1], strict=True), start=1):
        n[f"unpool{stage}"] = x = L.Upsample(x, mask, scale=2)
        x = _stage(n, x, f"stage{stage}_decoder", widths)
    convolution(n, x, "stage5_decoder.6", "${NUM_LABELS}", kernel_size=3, pad=1, bias_term=True, top="score")


def _stage(n: NetSpec, x: Top, name: str, widths: tuple[int, ...]) -> Top:
    for number, width in enumerate(widths):
        index = 3 * number
        x = conv_norm(n, x, f"{name}.{index}", f"{name}.{index + 1}", width, **dilated(3), bias_term=True)
    return x


def _resnet_scores(n: NetSpec) -> None:
    """The stages of the ResNet backwards, each without its first block; a bottleneck to the next follows."""
    x = conv_norm(n, scaled(n, n.data), "backbone.conv1", "backbone.bn1", 64, **dilated(7, 1, 2))
    pooling: dict[str, Any] = {"kernel_size": 3, "stride": 2, "pad": 1, "round_mode": "FLOOR"}
    n.pool, n.pool_mask = L.Pooling(x, ntop=2, name="pool", pool="MAX", **pooling)
    x = resnets.stages(n, n.pool, 50, "backbone.")[-1]
    for stage, (width, blocks) in enumerate(zip((512, 256, 128, 64), (2, 5, 3, 2), strict=True)):
        n.comment(f"decoder of stage {4 - stage}")
        for index in range(blocks):
            x = resnets.bottleneck(n, x, resnets.Block(f"decoder.{stage}.{index}", width))
        x = _widen(n, x, f"decoder.{stage}.{blocks}", width) if stage < 3 else _last(n, x, "decoder.3.2")
    n.unpool = L.Upsample(x, n.pool_mask, scale=2)
    x = _deconvolution(n, n.unpool, "last_conv.0", 64)
    convolution(n, x, "last_conv.1", "${NUM_LABELS}", kernel_size=3, pad=1, bias_term=True, top="score")


def _widen(n: NetSpec, x: Top, name: str, width: int) -> Top:
    """A bottleneck to twice the size and half the channels."""
    y = conv_norm(n, x, f"{name}.conv1", f"{name}.bn1", width, kernel_size=1)
    y = relu(n, norm(n, _deconvolution(n, y, f"{name}.conv2", width), f"{name}.bn2"), f"{name}.bn2_relu")
    y = conv_norm(n, y, f"{name}.conv3", f"{name}.bn3", 2 * width, act="", kernel_size=1)
    x = norm(n, _deconvolution(n, x, f"{name}.downsample.0", 2 * width), f"{name}.downsample.1")
    return _sum(n, x, y, name)


def _last(n: NetSpec, x: Top, name: str) -> Top:
    """A bottleneck to a quarter of the channels."""
    y = conv_norm(n, x, f"{name}.conv1", f"{name}.bn1", 64, kernel_size=1)
    y = conv_norm(n, y, f"{name}.conv2", f"{name}.bn2", 64, **dilated(3))
    y = conv_norm(n, y, f"{name}.conv3", f"{name}.bn3", 64, act="", kernel_size=1)
    x = conv_norm(n, x, f"{name}.downsample.0", f"{name}.downsample.1", 64, act="", kernel_size=1)
    return _sum(n, x, y, name)


def _sum(n: NetSpec, x: Top, y: Top, name: str) -> Top:
    n[name] = L.Eltwise(x, y, operation="SUM")
    return relu(n, n[name], f"{name}.relu")


def _deconvolution(n: NetSpec, x: Top, name: str, width: int) -> Top:
    n[name] = L.Deconvolution(
        x, num_output=width, bias_term=False, kernel_size=2, stride=2, weight_filler={"type": "msra"}
    )
    return n[name]


NETWORKS = (
    program(
        "segnet_segmentation", "SegNet, as in pytorch-segmentation.", __name__, _scores, size=512, crop=384
    ),
    program(
        "segnet_resnet50_segmentation",
        "SegNet on ResNet-50, as in pytorch-segmentation.",
        __name__,
        _resnet_scores,
        size=512,
        crop=384,
        start="pytorch-segmentation's checkpoint; torchvision's resnet50",
    ),
)
