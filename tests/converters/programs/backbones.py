"""Backbones: ResNet, MobileNetV2 (torchvision's and the rloss program's), Xception (two), DRN-D-54."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv(
    inside: int,
    out: int,
    size: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    pad: int | None = None,
):
    pad = dilation * (size // 2) if pad is None else pad
    return nn.Conv2d(inside, out, size, stride, pad, dilation, groups, bias=False)


class Bottleneck(nn.Module):
    def __init__(self, inside: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(inside, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride, dilation), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(inside, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))).relu()
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class Basic(nn.Module):
    def __init__(self, inside: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(inside, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, 1, dilation), nn.BatchNorm2d(width)
        self.downsample = _shortcut(inside, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def _shortcut(inside: int, out: int, stride: int) -> nn.Module | None:
    if stride == 1 and inside == out:
        return None
    return nn.Sequential(conv(inside, out, 1, stride), nn.BatchNorm2d(out))


def stage(kind: type, inside: int, width: int, stride: int, dilations: list[int]) -> nn.Sequential:
    out = width * (4 if kind is Bottleneck else 1)
    return nn.Sequential(
        *(kind(out if i else inside, width, 1 if i else stride, rate) for i, rate in enumerate(dilations))
    )


class ResNet(nn.Module):
    """`stem` names the first convolution and its norm: conv1 and bn1, or layer0 with both.

    `last` are the dilations of layer4's blocks, `third` is that of layer3.
    """

    def __init__(
        self,
        kind: type,
        blocks: list[int],
        strides: list[int],
        last: list[int],
        stem: str = "conv1",
        third: int = 1,
    ) -> None:
        super().__init__()
        self.stem = stem
        if stem == "layer0":
            self.layer0 = nn.Sequential(
                conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
            )
        else:
            self.conv1, self.bn1 = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        grow, inside = 4 if kind is Bottleneck else 1, 64
        for number, (count, width, stride) in enumerate(
            zip(blocks, (64, 128, 256, 512), strides, strict=True), 1
        ):
            dilations = last if number == 4 else [third if number == 3 else 1] * count
            setattr(self, f"layer{number}", stage(kind, inside, width, stride, dilations))
            inside = grow * width

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.stem == "layer0":
            x = self.layer0(x)
        else:
            x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        low = self.layer1(x)
        return self.layer4(self.layer3(self.layer2(low))), low


class ResNetClassifier(ResNet):
    def __init__(self, kind: type, blocks: list[int]) -> None:
        super().__init__(kind, blocks, [1, 2, 2, 2], [1] * blocks[3])
        self.fc = nn.Linear(512 * (4 if kind is Bottleneck else 1), 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(super().forward(x)[0].mean((2, 3)))


MOBILE = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class PaddedResidual(nn.Module):
    """Pads its input, then expands, filters without padding, and projects."""

    def __init__(self, inside: int, out: int, stride: int, dilation: int, expansion: int) -> None:
        super().__init__()
        hidden, self.dilation, self.shortcut = inside * expansion, dilation, stride == 1 and inside == out
        parts = [conv(inside, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU6()] if expansion > 1 else []
        parts += [
            conv(hidden, hidden, 3, stride, dilation, hidden, pad=0),
            nn.BatchNorm2d(hidden),
            nn.ReLU6(),
        ]
        self.conv = nn.Sequential(*parts, conv(hidden, out, 1), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(F.pad(x, [self.dilation] * 4))
        return x + y if self.shortcut else y


class PaddedMobileNet(nn.Module):
    """As the rloss program has it, with the two parts under names of their own beside the whole."""

    def __init__(self, output_stride: int = 16) -> None:
        super().__init__()
        layers = [nn.Sequential(conv(3, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU6())]
        reached, rate, inside = 2, 1, 32
        for expansion, out, count, step in MOBILE:
            stride, dilation = (1, rate) if reached == output_stride else (step, 1)
            rate *= step if reached == output_stride else 1
            reached *= stride
            for index in range(count):
                layers.append(PaddedResidual(inside, out, 1 if index else stride, dilation, expansion))
                inside = out
        self.features = nn.Sequential(*layers)
        self.low_level_features, self.high_level_features = self.features[:4], self.features[4:]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low = self.low_level_features(x)
        return self.high_level_features(low), low


class Residual(nn.Module):
    """torchvision's inverted residual: padding where the filter is."""

    def __init__(self, inside: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden, self.shortcut = inside * expansion, stride == 1 and inside == out
        parts = [_activated(inside, hidden, 1)] if expansion > 1 else []
        parts.append(_activated(hidden, hidden, 3, stride, hidden))
        self.conv = nn.Sequential(*parts, conv(hidden, out, 1), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.shortcut else self.conv(x)


def _activated(inside: int, out: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(conv(inside, out, size, stride, 1, groups), nn.BatchNorm2d(out), nn.ReLU6())


class MobileNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers, inside = [_activated(3, 32, 3, 2)], 32
        for expansion, out, count, step in MOBILE:
            for index in range(count):
                layers.append(Residual(inside, out, 1 if index else step, expansion))
                inside = out
        self.features = nn.Sequential(*layers, _activated(320, 1280, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class Separable(nn.Module):
    def __init__(self, inside: int, out: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn = conv(inside, inside, 3, stride, dilation, inside), nn.BatchNorm2d(inside)
        self.pointwise = conv(inside, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.bn(self.conv1(x)))


class XceptionBlock(nn.Module):
    """ReLUs work in place, so the shortcut reads what the first one left."""

    def __init__(
        self,
        widths: tuple[int, int, int, int],
        stride: int = 1,
        start: bool = True,
        dilations: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for index, dilation in enumerate(dilations):
            parts += [
                nn.ReLU(inplace=True),
                Separable(widths[index], widths[index + 1], stride if index == 2 else 1, dilation),
            ]
            parts.append(nn.BatchNorm2d(widths[index + 1]))
        self.rep = nn.Sequential(*parts[0 if start else 1 :])
        self.skip = None
        if stride > 1 or widths[0] != widths[3]:
            self.skip, self.skipbn = conv(widths[0], widths[3], 1, stride), nn.BatchNorm2d(widths[3])

    def forward(self, x: Tensor) -> Tensor:
        y = self.rep(x)
        return y + (x if self.skip is None else self.skipbn(self.skip(x)))


class Xception(nn.Module):
    """`plain`: pytorch-segmentation's, without a ReLU before block 1 and with raw features at stride 4.

    The other's block 20 has one convolution that is not dilated at output stride 8.
    """

    def __init__(self, plain: bool, output_stride: int = 16) -> None:
        super().__init__()
        self.plain = plain
        self.conv1, self.bn1 = conv(3, 32, 3, 2), nn.BatchNorm2d(32)
        self.conv2, self.bn2 = conv(32, 64, 3), nn.BatchNorm2d(64)
        self.block1 = XceptionBlock((64, 128, 128, 128), 2, start=False)
        self.block2 = XceptionBlock((128, 256, 256, 256), 2)
        entry, middle, leave = (2, 1, (1, 2)) if output_stride == 16 else (1, 2, (2, 4))
        self.block3 = XceptionBlock((256, 728, 728, 728), entry)
        for number in range(4, 20):
            block = XceptionBlock((728, 728, 728, 728), dilations=(middle, middle, middle))
            setattr(self, f"block{number}", block)
        last = leave[0] if plain else 1
        self.block20 = XceptionBlock((728, 728, 1024, 1024), dilations=(leave[0], leave[0], last))
        for number, inside, out in ((3, 1024, 1536), (4, 1536, 1536), (5, 1536, 2048)):
            setattr(self, f"conv{number}", Separable(inside, out, dilation=leave[1]))
            setattr(self, f"bn{number}", nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        x = self.block1(x if self.plain else F.relu(x))
        low = x if self.plain else F.relu(x)
        x = F.relu(x)
        for number in range(2, 21):
            x = getattr(self, f"block{number}")(x)
        x = F.relu(x)
        for number in (3, 4, 5):
            x = F.relu(getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x)))
        return x, low


class DRN(nn.Module):
    """DRN-D-54."""

    def __init__(self) -> None:
        super().__init__()

        def layer(inside: int, out: int, size: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
            return nn.Sequential(conv(inside, out, size, stride, dilation), nn.BatchNorm2d(out), nn.ReLU())

        self.layer0, self.layer1, self.layer2 = layer(3, 16, 7), layer(16, 16, 3), layer(16, 32, 3, 2)
        self.layer3, self.layer4 = (
            stage(Bottleneck, 32, 64, 2, [1] * 3),
            stage(Bottleneck, 256, 128, 2, [1] * 4),
        )
        self.layer5, self.layer6 = (
            stage(Bottleneck, 512, 256, 1, [2] * 6),
            stage(Bottleneck, 1024, 512, 1, [4] * 3),
        )
        self.layer7, self.layer8 = layer(2048, 512, 3, 1, 2), layer(512, 512, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low = self.layer3(self.layer2(self.layer1(self.layer0(x))))
        x = self.layer6(self.layer5(self.layer4(low)))
        return self.layer8(self.layer7(x)), low


def drawn(make: Callable[[], nn.Module]) -> nn.Module:
    """A randomized module; PyTorch does not draw its own starting weights first, which takes as long."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in (nn.Conv2d, nn.Linear):
            patch.setattr(kind, "reset_parameters", lambda part: None)
        module = make()
    return randomize(module)


@torch.no_grad()
def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and statistics of sizes at which every layer matters."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor: Tensor, low: float, high: float) -> None:
        tensor.uniform_(low, high, generator=generator)

    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            spread = getattr(part, "gain", 1) * (2 / part.weight[0].numel()) ** 0.5
            part.weight.normal_(0, spread, generator=generator)
            if part.bias is not None:
                uniform(part.bias, -1, 1)
        elif isinstance(part, nn.BatchNorm2d):
            uniform(part.running_mean, -0.3, 0.3)
            uniform(part.running_var, 0.7, 1.5)
            uniform(part.weight, 0.4, 1.2)
            uniform(part.bias, -0.3, 0.3)
        elif isinstance(part, nn.PReLU):
            uniform(part.weight, 0.1, 0.5)
    return module.eval()
