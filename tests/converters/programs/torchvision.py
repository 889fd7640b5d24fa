"""torchvision's FCN, DeepLab v3 and LR-ASPP."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from programs.backbones import Bottleneck, conv, stage
from programs.deeplab import BLOCKS, CLASSES, numbered

# kernel, hidden channels, channels, gate, hard swish, stride, dilation
MOBILE_V3 = (
    (3, 16, 16, False, False, 1, 1),
    (3, 64, 24, False, False, 2, 1),
    (3, 72, 24, False, False, 1, 1),
    (5, 72, 40, True, False, 2, 1),
    (5, 120, 40, True, False, 1, 1),
    (5, 120, 40, True, False, 1, 1),
    (3, 240, 80, False, True, 2, 1),
    (3, 200, 80, False, True, 1, 1),
    (3, 184, 80, False, True, 1, 1),
    (3, 184, 80, False, True, 1, 1),
    (3, 480, 112, True, True, 1, 1),
    (3, 672, 112, True, True, 1, 1),
    (5, 672, 160, True, True, 1, 2),
    (5, 960, 160, True, True, 1, 2),
    (5, 960, 160, True, True, 1, 2),
)
SQUEEZED = {72: 24, 120: 32, 480: 120, 672: 168, 960: 240}


def layer(inside: int, out: int, size: int, act: type | None, *rest: int) -> nn.Sequential:
    parts = [conv(inside, out, size, *rest), nn.BatchNorm2d(out, eps=1e-3)]
    return nn.Sequential(*parts, *([act()] if act else []))


class Gate(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(width, SQUEEZED[width], 1), nn.Conv2d(SQUEEZED[width], width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()))


class Residual(nn.Module):
    def __init__(self, inside: int, kernel, hidden, out, gate, swish, stride, dilation) -> None:
        super().__init__()
        act = nn.Hardswish if swish else nn.ReLU
        self.shortcut = inside == out and stride == 1
        self.block = nn.Sequential(
            *([layer(inside, hidden, 1, act)] if hidden != inside else []),
            layer(hidden, hidden, kernel, act, stride, dilation, hidden),
            *([Gate(hidden)] if gate else []),
            layer(hidden, out, 1, None),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x) + x if self.shortcut else self.block(x)


class MobileNetV3(nn.Sequential):
    def __init__(self) -> None:
        widths = (16, *(row[2] for row in MOBILE_V3))
        blocks = [Residual(inside, *row) for inside, row in zip(widths, MOBILE_V3, strict=False)]
        super().__init__(layer(3, 16, 3, nn.Hardswish, 2), *blocks, layer(160, 960, 1, nn.Hardswish))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        made = list(itertools.accumulate(self, lambda value, part: part(value), initial=x))
        return made[-1], made[5]


class DilatedResNet(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        _, _, third, fourth = blocks = BLOCKS[depth]
        self.conv1, self.bn1 = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        self.layer1 = stage(Bottleneck, 64, 64, 1, [1] * blocks[0])
        self.layer2 = stage(Bottleneck, 256, 128, 2, [1] * blocks[1])
        self.layer3 = stage(Bottleneck, 512, 256, 1, [1] + [2] * (third - 1))
        self.layer4 = stage(Bottleneck, 1024, 512, 1, [2] + [4] * (fourth - 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low = self.layer1(F.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1))
        return self.layer4(self.layer3(self.layer2(low))), low


def fcn(inside: int) -> nn.Sequential:
    width = inside // 4
    return nn.Sequential(*numbered(inside, width, 3), nn.Dropout(0.1), nn.Conv2d(width, CLASSES, 1))


class Pyramid(nn.Module):
    def __init__(self, inside: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Sequential(*numbered(inside, 256, 1))])
        for rate in (12, 24, 36):
            self.convs.append(nn.Sequential(conv(inside, 256, 3, 1, rate), nn.BatchNorm2d(256), nn.ReLU()))
        self.convs.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), *numbered(inside, 256, 1)))
        self.project = nn.Sequential(*numbered(5 * 256, 256, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        parts = [part(x) for part in self.convs]
        parts[-1] = parts[-1].expand_as(parts[0])
        return self.project(torch.cat(parts, 1))


def deeplab(inside: int) -> nn.Sequential:
    return nn.Sequential(Pyramid(inside), *numbered(256, 256, 3), nn.Conv2d(256, CLASSES, 1))


class Simple(nn.Module):
    """A backbone, a head, and (with `auxiliary`) another head that only training uses."""

    def __init__(self, backbone: nn.Module, classifier: nn.Module, auxiliary: bool = False) -> None:
        super().__init__()
        self.backbone, self.classifier = backbone, classifier
        if auxiliary:
            self.aux_classifier = fcn(1024)

    def forward(self, x: Tensor) -> Tensor:
        return enlarged(self.classifier(self.backbone(x)[0]), x)


class LRASPP(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.classifier = MobileNetV3(), nn.Module()
        self.classifier.cbr = nn.Sequential(*numbered(960, 128, 1))
        self.classifier.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(960, 128, 1), nn.Sigmoid())
        self.classifier.low_classifier = nn.Conv2d(40, CLASSES, 1)
        self.classifier.high_classifier = nn.Conv2d(128, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        head, (high, low) = self.classifier, self.backbone(x)
        y = enlarged(head.cbr(high) * head.scale(high), low)
        return enlarged(head.low_classifier(low) + head.high_classifier(y), x)


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)
