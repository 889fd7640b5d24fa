"""Blocks of networks that were first written for PyTorch. Layers are named after the original's modules, so
that a checkpoint's tensors find them by name: `X_scale` after a BatchNorm X holds its weight and bias.

The image comes as Caffe's data layers give it, BGR with ImageNet's mean subtracted. A frozen Scale divides it
by the standard deviations, and shifts it if a program has another mean. Pooling rounds down, as in PyTorch.

Learning rates are not set here: the training program sets them, see `set_rates`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlossctl.prototxt.netspec import L, NetSpec, Top

MEAN_BGR = [103.53, 116.28, 123.675]  # 255 times ImageNet's mean
SCALE = 0.0172  # about 1 / (255 * 0.228); an imported file holds the three values
BIAS = {
    "Convolution": True,
    "Deconvolution": True,
    "Scale": False,
    "PReLU": False,
}  # unless bias_term says so


def scaled(n: NetSpec, data: Top) -> Top:
    """The image divided by the standard deviation of its colours."""
    n.comment("the image divided by its standard deviation; losses read the original")
    n.scaled = L.Scale(
        data,
        param=[{"lr_mult": 0, "decay_mult": 0}] * 2,
        filler={"type": "constant", "value": SCALE},
        bias_term=True,
    )
    return n.scaled


def convolution(n: NetSpec, x: Top, name: str, num_output: int | str, top: str = "", **fields: Any) -> Top:
    """A convolution without bias, unless `fields` say otherwise; its blob has its name, or is named `top`."""
    fields = {"bias_term": False, "weight_filler": {"type": "msra"}, **fields}
    if fields["bias_term"]:
        del fields["bias_term"]
    top = top or name
    n[top] = L.Convolution(x, name=name, num_output=num_output, **fields)
    return n[top]


def norm(n: NetSpec, x: Top, name: str, eps: float | None = None, in_place: bool = True) -> Top:
    """Batch normalisation; the running statistics change as PyTorch's do with momentum 0.1.

    Args:
        in_place: False if other layers read `x`, too.
    """
    fields = {} if eps is None else {"eps": eps}
    n[name] = x = L.BatchNorm(x, in_place=in_place, moving_average_fraction=0.9, **fields)
    n[f"{name}_scale"] = x = L.Scale(x, in_place=True, bias_term=True)
    return x


def relu(n: NetSpec, x: Top, name: str, six: bool = False) -> Top:
    """ReLU, or ReLU6, in place."""
    n[name] = (L.ReLU6 if six else L.ReLU)(x, in_place=True)
    return n[name]


def conv_norm(
    n: NetSpec,
    x: Top,
    conv: str,
    bn: str,
    num_output: int | str,
    *,
    act: str = "relu",
    eps: float | None = None,
    **fields: Any,
) -> Top:
    """Convolution and batch normalisation, then "relu", "relu6" or nothing ("")."""
    x = norm(n, convolution(n, x, conv, num_output, **fields), bn, eps)
    return relu(n, x, f"{bn}_relu", six=act == "relu6") if act else x


def dilated(kernel_size: int, dilation: int = 1, stride: int = 1, **fields: int) -> dict[str, Any]:
    """Fields of a convolution that keeps the size (divided by the stride)."""
    out: dict[str, Any] = {"kernel_size": kernel_size, "pad": dilation * (kernel_size // 2), "stride": stride}
    return {**out, **({"dilation": dilation} if dilation > 1 else {}), **fields}


def separable(n: NetSpec, x: Top, name: str, bn: str, channels: tuple[int, int], dilation: int = 1) -> Top:
    """A depthwise 3 x 3 convolution, a 1 x 1 convolution, norm and ReLU; `channels`: before and after."""
    inside, width = channels
    x = convolution(n, x, f"{name}.0", inside, **dilated(3, dilation, group=inside))
    return conv_norm(n, x, f"{name}.1", bn, width, kernel_size=1)


def max_pool(n: NetSpec, x: Top, name: str) -> Top:
    """PyTorch's MaxPool2d(3, stride 2, padding 1)."""
    n[name] = L.Pooling(x, pool="MAX", kernel_size=3, stride=2, pad=1, round_mode="FLOOR")
    return n[name]


def resize(n: NetSpec, x: Top, name: str, like: Top, aligned: bool = True) -> Top:
    """Bilinear zoom to the size of `like`: aligns corners, or pixel areas as PyTorch does by default."""
    n[name] = L.Interp(x, like, **({} if aligned else {"align_corners": False}))
    return n[name]


def dropout(n: NetSpec, x: Top, name: str, ratio: float, **fields: Any) -> Top:
    """Dropout in place; with whole_channels it is PyTorch's Dropout2d."""
    n[name] = L.Dropout(x, in_place=True, dropout_ratio=ratio, **fields)
    return n[name]


def classifier(n: NetSpec, x: Top, name: str, **fields: Any) -> Top:
    """The convolution that gives the scores, 1 x 1 unless `fields` say otherwise."""
    fields = {"kernel_size": 1, "bias_term": True, **fields}
    return convolution(n, x, name, "${NUM_LABELS}", **fields)


def set_rates(n: NetSpec, rate: Callable[[str], float]) -> None:
    """Gives every layer that learns the lr_mult that `rate` has for its name; frozen ones stay so.

    Biases and norms learn and decay as weights do: the programs hand all parameters to one rule.
    """
    for layer in n.layers:
        if layer.type not in BIAS or "param" in layer.fields:
            continue
        mult = rate(str(layer.name))
        blobs = 2 if layer.fields.get("bias_term", BIAS[layer.type]) else 1
        if mult != 1:
            layer.fields["param"] = [{"lr_mult": mult, "decay_mult": 1}] * blobs
