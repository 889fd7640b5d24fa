"""SegNet: VGG-16 with batch normalisation, and its mirror image, which puts values back to where pooling
found them.

This is pytorch-segmentation's network, layer by layer, for sizes 32k. There, decoder layers reuse encoder
layers of the same width; here each layer has its own blobs. `rlossctl convert` reads its checkpoints
(docs/import.md).
"""

from __future__ import annotations

from rlossctl.configs.networks.program import program
from rlossctl.configs.networks.torch_style import conv_norm, convolution, dilated, scaled
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


NETWORKS = (
    program(
        "segnet_segmentation", "SegNet, as in pytorch-segmentation.", __name__, _scores, size=512, crop=384
    ),
)
