"""UNet: four poolings, four deconvolutions, and what was before each pooling beside what comes back.

The network of pytorch-segmentation, layer by layer, for sizes 16k: there nothing has to be cut. `rlossctl
convert` reads its checkpoints (docs/import.md).
"""

from __future__ import annotations

from networks.program import Network
from networks.torch_style import conv_norm, convolution, dilated, scaled

from rlossctl.prototxt.netspec import L, NetSpec, Top

WIDTHS = (64, 128, 256, 512)


def _scores(n: NetSpec) -> None:
    x, copies = scaled(n, n.data), []
    for level, width in enumerate(WIDTHS, start=1):
        x = _pair(n, x, f"down{level}.down_conv", width)
        copies.append(x)
        n[f"down{level}.pool"] = x = L.Pooling(x, pool="MAX", kernel_size=2, stride=2)
    x = _pair(n, x, "middle_conv", 1024, bias_term=True)
    for level, (width, copy) in enumerate(zip(WIDTHS[::-1], copies[::-1], strict=True), start=1):
        name = f"up{level}"
        n[f"{name}.up"] = x = L.Deconvolution(
            x, num_output=width, kernel_size=2, stride=2, weight_filler={"type": "msra"}
        )
        n[f"{name}.concat"] = x = L.Concat(copy, x)
        x = _pair(n, x, f"{name}.up_conv", width)
    convolution(n, x, "final_conv", "${NUM_LABELS}", kernel_size=1, bias_term=True, top="score")


def _pair(n: NetSpec, x: Top, name: str, width: int, **fields: bool) -> Top:
    """Two convolutions of 3 x 3."""
    for index in (0, 3):
        x = conv_norm(n, x, f"{name}.{index}", f"{name}.{index + 1}", width, **dilated(3), **fields)
    return x


NETWORKS = (Network("unet_segmentation", "UNet, as in pytorch-segmentation.", "unet", _scores, crop=512),)
