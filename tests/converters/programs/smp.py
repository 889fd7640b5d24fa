"""segmentation_models.pytorch's Unet and DeepLab v3+ on ResNets, with its default settings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from programs.backbones import Basic, Bottleneck, conv, stage
from programs.deeplab import BLOCKS, CLASSES, numbered


class Encoder(nn.Module):
    """A ResNet that gives its features at strides 2, 4, 8, 16 and 32 (16 with `dilated`)."""

    def __init__(self, kind: type, blocks: list[int], dilated: bool = False) -> None:
        super().__init__()
        grow = 4 if kind is Bottleneck else 1
        self.conv1, self.bn1 = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        self.layer1 = stage(kind, 64, 64, 1, [1] * blocks[0])
        self.layer2 = stage(kind, 64 * grow, 128, 2, [1] * blocks[1])
        self.layer3 = stage(kind, 128 * grow, 256, 2, [1] * blocks[2])
        self.layer4 = stage(kind, 256 * grow, 512, 1 if dilated else 2, [2 if dilated else 1] * blocks[3])

    def forward(self, x: Tensor) -> list[Tensor]:
        out = [F.relu(self.bn1(self.conv1(x)))]
        out.append(self.layer1(F.max_pool2d(out[0], 3, 2, 1)))
        for layer in (self.layer2, self.layer3, self.layer4):
            out.append(layer(out[-1]))
        return out


class Unet(nn.Module):
    def __init__(self, kind: type = Basic, blocks: tuple[int, ...] = (2, 2, 2, 2)) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(kind, list(blocks)), nn.Module()
        grow = 4 if kind is Bottleneck else 1
        inside, skips = 512 * grow, (256 * grow, 128 * grow, 64 * grow, 64, 0)
        self.decoder.blocks = nn.ModuleList()
        for skip, width in zip(skips, (256, 128, 64, 32, 16), strict=True):
            block = nn.Module()
            block.conv1, block.conv2 = pair(inside + skip, width), pair(width, width)
            self.decoder.blocks.append(block)
            inside = width
        self.segmentation_head = nn.Sequential(nn.Conv2d(16, CLASSES, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        *skips, x = self.encoder(x)
        for number, block in enumerate(self.decoder.blocks):
            x = F.interpolate(x, scale_factor=2)
            x = torch.cat([x, skips[3 - number]], 1) if number < 4 else x
            x = block.conv2(block.conv1(x))
        return self.segmentation_head(x)


class DeepLabV3Plus(nn.Module):
    def __init__(self, depth: int = 50) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(Bottleneck, BLOCKS[depth], dilated=True), nn.Module()
        self.decoder.aspp = nn.Sequential(Pyramid(), separable(256), nn.BatchNorm2d(256), nn.ReLU())
        self.decoder.block1 = nn.Sequential(*numbered(256, 48, 1))
        self.decoder.block2 = nn.Sequential(separable(304), nn.BatchNorm2d(256), nn.ReLU())
        self.segmentation_head = nn.Sequential(nn.Conv2d(256, CLASSES, 1))

    def forward(self, x: Tensor) -> Tensor:
        features = self.encoder(x)
        y = enlarged(self.decoder.aspp(features[-1]), features[1])
        y = self.decoder.block2(torch.cat([y, self.decoder.block1(features[1])], 1))
        return enlarged(self.segmentation_head(y), x)


class Pyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Sequential(*numbered(2048, 256, 1))])
        for rate in (12, 24, 36):
            self.convs.append(nn.Sequential(separable(2048, rate), nn.BatchNorm2d(256), nn.ReLU()))
        self.convs.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), *numbered(2048, 256, 1)))
        self.project = nn.Sequential(*numbered(5 * 256, 256, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        parts = [part(x) for part in self.convs]
        parts[-1] = parts[-1].expand_as(parts[0])
        return self.project(torch.cat(parts, 1))


def pair(inside: int, out: int) -> nn.Sequential:
    return nn.Sequential(*numbered(inside, out, 3))


def separable(inside: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(conv(inside, inside, 3, 1, dilation, inside), conv(inside, 256, 1))


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)
