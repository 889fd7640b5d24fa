"""The trunk that three of the networks share: VGG-16 made fully convolutional, with stride 8.

All pools are 3 x 3 with padding 1, so that sizes 8k+1 map to k+1 and scores align with pixels. The last two
pools keep the resolution, and the convolutions between them are dilated to make up for it.
"""

from __future__ import annotations

from typing import NamedTuple

from rlossctl.configs.networks.common import gaussian, rates
from rlossctl.prototxt.netspec import L, NetSpec, Top


class Stage(NamedTuple):
    number: int
    convolutions: int
    num_output: int
    dilation: int
    pool_stride: int


STAGES = (
    Stage(1, 2, 64, 1, 2),
    Stage(2, 2, 128, 1, 2),
    Stage(3, 3, 256, 1, 2),
    Stage(4, 3, 512, 1, 1),
    Stage(5, 3, 512, 2, 1),
)


def trunk(n: NetSpec, rate: int | None) -> Top:
    """All five stages; `rate` is the lr_mult of the weights, None in test nets. Returns pool5."""
    x = n.data
    for each in STAGES:
        x = stage(n, x, each, rate)
    return x


def stage(n: NetSpec, x: Top, stage: Stage, rate: int | None) -> Top:
    """The convolutions of one stage and its pool."""
    dilation = {"dilation": stage.dilation} if stage.dilation > 1 else {}
    for index in range(1, stage.convolutions + 1):
        name = f"{stage.number}_{index}"
        n["conv" + name] = x = L.Convolution(
            x, **rates(rate), num_output=stage.num_output, pad=stage.dilation, kernel_size=3, **dilation
        )
        n["relu" + name] = x = L.ReLU(x, in_place=True)
    n[f"pool{stage.number}"] = x = L.Pooling(x, pool="MAX", kernel_size=3, stride=stage.pool_stride, pad=1)
    return x


def average_pool(n: NetSpec) -> Top:
    """LargeFOV's pool after pool5."""
    n.pool5a = L.Pooling(n.pool5, pool="AVE", kernel_size=3, stride=1, pad=1)
    return n.pool5a


def head(
    n: NetSpec,
    x: Top,
    classifier: str,
    *,
    dilation: int,
    rate: int | None,
    classifier_rate: int | None,
    suffix: str = "",
) -> Top:
    """fc6 (a dilated 3 x 3 convolution), fc7 and the classifier, with dropout between them."""
    x = _hidden(n, x, "6", suffix, rate, pad=dilation, kernel_size=3, dilation=dilation)
    x = _hidden(n, x, "7", suffix, rate, kernel_size=1)
    n[classifier] = L.Convolution(
        x,
        **rates(classifier_rate),
        num_output="${NUM_LABELS}",
        kernel_size=1,
        **({} if classifier_rate is None else gaussian(0.01)),
    )
    return n[classifier]


def _hidden(n: NetSpec, x: Top, number: str, suffix: str, rate: int | None, **convolution: int) -> Top:
    n[f"fc{number}{suffix}"] = x = L.Convolution(x, **rates(rate), num_output=1024, **convolution)
    n[f"relu{number}{suffix}"] = x = L.ReLU(x, in_place=True)
    n[f"drop{number}{suffix}"] = x = L.Dropout(x, in_place=True, dropout_ratio=0.5)
    return x
