"""DeepLab v3+ of three programs: the modules around the backbones, under each program's names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from programs.backbones import DRN, Basic, Bottleneck, PaddedMobileNet, ResNet, Xception, conv

CLASSES = 5
STEM, LAST = [1, 2, 2, 1], [2, 2, 2]
BLOCKS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}


def zoom(x: Tensor, like: Tensor, aligned: bool = True) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=aligned)


class Named(nn.Module):
    """Convolution, norm and ReLU under names of their own."""

    def __init__(self, inside: int, out: int, size: int, dilation: int = 1) -> None:
        super().__init__()
        self.atrous_conv, self.bn = conv(inside, out, size, dilation=dilation), nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.atrous_conv(x)))


def numbered(inside: int, out: int, size: int, dilation: int = 1, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(conv(inside, out, size, stride, dilation), nn.BatchNorm2d(out), nn.ReLU())


class Pyramid(nn.Module):
    """ASPP with aspp1 to aspp4, of `make`, and the pooled branch under `pool`."""

    def __init__(self, inside: int, make: object, pool: str, stride: int = 16, rates: tuple = ()) -> None:
        super().__init__()
        self.pool, self.rates = pool, rates or ((1, 6, 12, 18) if stride == 16 else (1, 12, 24, 36))
        for number, rate in enumerate(self.rates, 1):
            size = 1 if number == 1 else 3
            setattr(self, f"aspp{number}", make(inside, 256, size, rate))
        setattr(self, pool, nn.Sequential(nn.AdaptiveAvgPool2d(1), *numbered(inside, 256, 1)))
        self.conv1, self.bn1 = conv(256 * (len(self.rates) + 1), 256, 1), nn.BatchNorm2d(256)

    def forward(self, x: Tensor) -> Tensor:
        parts = [getattr(self, f"aspp{number}")(x) for number in range(1, len(self.rates) + 1)]
        parts.append(zoom(getattr(self, self.pool)(x), x))
        return F.relu(self.bn1(self.conv1(torch.cat(parts, 1))))


class Decoder(nn.Module):
    def __init__(self, low: int, name: str, dropouts: tuple[bool, bool], low_first: bool) -> None:
        super().__init__()
        self.name, self.low_first = name, low_first
        self.conv1, self.bn1 = conv(low, 48, 1), nn.BatchNorm2d(48)
        parts = [*numbered(304, 256, 3), *([nn.Dropout(0.5)] if dropouts[0] else [])]
        parts += [
            *numbered(256, 256, 3),
            *([nn.Dropout(0.1)] if dropouts[1] else []),
            nn.Conv2d(256, CLASSES, 1),
        ]
        setattr(self, name, nn.Sequential(*parts))

    def forward(self, x: Tensor, low: Tensor) -> Tensor:
        low = F.relu(self.bn1(self.conv1(low)))
        pair = (low, zoom(x, low)) if self.low_first else (zoom(x, low), low)
        return getattr(self, self.name)(torch.cat(pair, 1))


class Rloss(nn.Module):
    """The rloss program's, on one of its four backbones."""

    def __init__(self, backbone: str, dropout: bool = True, stride: int = 16) -> None:
        super().__init__()
        strides, dilated = (STEM, (1, [2, 4, 8])) if stride == 16 else ([1, 2, 1, 1], (2, [4, 8, 16]))
        make, inside, low = {
            "mobilenet": (lambda: PaddedMobileNet(stride), 320, 24),
            "resnet101": (
                lambda: ResNet(Bottleneck, BLOCKS[101], strides, dilated[1], third=dilated[0]),
                2048,
                256,
            ),
            "xception": (lambda: Xception(plain=False, output_stride=stride), 2048, 128),
            "drn": (DRN, 512, 256),
        }[backbone]
        self.backbone = make()
        self.aspp = Pyramid(inside, Named, "global_avg_pool", 8 if backbone == "drn" else stride)
        self.decoder = Decoder(low, "last_conv", (dropout, dropout), low_first=False)

    def forward(self, x: Tensor) -> Tensor:
        features, low = self.backbone(x)
        return zoom(self.decoder(self.aspp(features), low), x)


class Segmentation(nn.Module):
    """pytorch-segmentation's."""

    def __init__(self, backbone: str, stride: int = 16) -> None:
        super().__init__()
        resnet = backbone.startswith("resnet")
        if resnet:
            strides, third, last = (STEM, 1, LAST) if stride == 16 else ([1, 2, 1, 1], 2, [4, 4, 4])
            blocks = BLOCKS[int(backbone.removeprefix("resnet"))]
            self.backbone = ResNet(Bottleneck, blocks, strides, last, "layer0", third)
        else:
            self.backbone = Xception(plain=True, output_stride=stride)
        self.ASSP = Pyramid(2048, numbered, "avg_pool", stride)
        self.decoder = Decoder(256 if resnet else 128, "output", (False, True), low_first=True)

    def forward(self, x: Tensor) -> Tensor:
        features, low = self.backbone(x)
        return zoom(self.decoder(self.ASSP(features), low), x)


class Dense(nn.Module):
    """Channels to pixels."""

    def __init__(self, inside: int, out: int, factor: int) -> None:
        super().__init__()
        self.conv, self.bn = conv(inside, out * factor**2, 1), nn.BatchNorm2d(out * factor**2)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(F.relu(self.bn(self.conv(x))), self.factor)


class DenseDecoder(Decoder):
    def __init__(self) -> None:
        super().__init__(256, "output", (False, True), low_first=True)
        self.DUC = Dense(256, 256, 2)

    def forward(self, x: Tensor, low: Tensor) -> Tensor:
        return super().forward(self.DUC(x)[..., : low.shape[2], : low.shape[3]], low)


class DenseDeepLab(nn.Module):
    """pytorch-segmentation's DeepLab_DUC_HDC: dilations that differ from block to block."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet(Bottleneck, BLOCKS[101], [1, 2, 1, 1], [3, 4, 5], "layer0")
        for index, block in enumerate(self.backbone.layer3):
            rate = (2, 2)[index - 21] if index > 20 else index % 3 + 1
            block.conv2.dilation = block.conv2.padding = (rate, rate)
        self.ASSP = Pyramid(2048, numbered, "avg_pool", rates=(1, 6, 12, 18, 24, 36))
        self.decoder = DenseDecoder()
        self.DUC_out = Dense(CLASSES, CLASSES, 4)

    def forward(self, x: Tensor) -> Tensor:
        features, low = self.backbone(x)
        return self.DUC_out(self.decoder(self.ASSP(features), low))


class GatedPyramid(nn.Module):
    def __init__(self, inside: int) -> None:
        super().__init__()
        for number, rate in enumerate((1, 6, 12, 18)):
            setattr(self, f"conv{number}", numbered(inside, 256, 3 if number else 1, rate if number else 1))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), numbered(inside, 256, 1))
        self.conv_out = numbered(1280, 256, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [getattr(self, f"conv{number}")(x) for number in range(4)]
        return self.conv_out(torch.cat([*parts, zoom(self.pool(x), x, aligned=False)], 1))


class GatedDecoder(nn.Module):
    def __init__(self, low: int) -> None:
        super().__init__()
        self.reduce_skip_4x = numbered(low, 48, 1)
        self.last_conv = nn.Sequential(
            *numbered(304, 256, 3), *numbered(256, 256, 3), nn.Conv2d(256, CLASSES, 1)
        )

    def forward(self, x: Tensor, low: Tensor) -> Tensor:
        low = self.reduce_skip_4x(low)
        return self.last_conv(torch.cat((zoom(x, low, aligned=False), low), 1))


class Gated(nn.Module):
    """The Gated CRF loss program's; `net` is what a checkpoint holds."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        kind, blocks = Basic if depth == 34 else Bottleneck, BLOCKS[depth]
        self.net = nn.Module()
        self.net.encoder = nn.Module()
        self.net.encoder.encoder = ResNet(kind, blocks, STEM, LAST)
        self.net.aspp = GatedPyramid(512 if kind is Basic else 2048)
        self.net.decoder = GatedDecoder(64 if kind is Basic else 256)

    def forward(self, x: Tensor) -> Tensor:
        features, low = self.net.encoder.encoder(x)
        return zoom(self.net.decoder(self.net.aspp(features), low), x, aligned=False)
