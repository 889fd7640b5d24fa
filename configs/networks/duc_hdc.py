"""DeepLab v3+ with hybrid dilated convolutions in its ResNet-101, and with dense upsampling: channels hold
the scores of 4 x 4 pixels.

This is pytorch-segmentation's network with its default settings, layer by layer. `rlossctl convert` reads its
checkpoints (docs/import.md).
"""

from __future__ import annotations

from rlossctl.configs.networks import resnets
from rlossctl.configs.networks.deeplabv3plus import WIDTH, aspp
from rlossctl.configs.networks.program import program
from rlossctl.configs.networks.torch_style import classifier, conv_norm, dilated, dropout, scaled
from rlossctl.prototxt.netspec import L, NetSpec, Top

THIRD, FOURTH = (*(1, 2, 3) * 7, 2, 2), (3, 4, 5)  # dilations of the blocks
RATES = (6, 12, 18, 24, 36)


def _scores(n: NetSpec) -> None:
    x = scaled(n, n.data)
    x, low = resnets.trunk(n, x, 101, "backbone.", strides=(1, 2, 1, 1), dilations=(1, 1, THIRD, FOURTH))
    x = dropout(n, aspp(n, x, RATES), "aspp.dropout", 0.5)
    n.comment("decoder")
    low = conv_norm(n, low, "decoder.conv1", "decoder.bn1", 48, kernel_size=1)
    x = _dense(n, x, "decoder.DUC", 4 * WIDTH, 2)
    n["decoder.crop"] = L.Crop(x, low)
    n["decoder.concat"] = x = L.Concat(low, n["decoder.crop"])
    for number in (0, 4):
        x = conv_norm(
            n, x, f"decoder.last_conv.{number}", f"decoder.last_conv.{number + 1}", WIDTH, **dilated(3)
        )
    x = dropout(n, x, "decoder.last_conv.4.dropout", 0.1)
    x = classifier(n, x, "decoder.last_conv.8")
    n.score = L.Crop(_dense(n, x, "DUC_out", "${NUM_LABELS_16}", 4), n.data)


def _dense(n: NetSpec, x: Top, name: str, channels: int | str, factor: int) -> Top:
    """Dense upsampling: turns channels into pixels."""
    x = conv_norm(n, x, f"{name}.conv", f"{name}.bn", channels, kernel_size=1)
    n[name] = L.PixelShuffle(x, upscale_factor=factor)
    return n[name]


NETWORKS = (
    program(
        "deeplab_duc_hdc_segmentation",
        "DeepLab with DUC and HDC on ResNet-101, as in pytorch-segmentation.",
        __name__,
        _scores,
        size=512,
        start="pytorch-segmentation's checkpoint; torchvision's resnet101",
    ),
)
