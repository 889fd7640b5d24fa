"""pytorch-segmentation's other networks, under its names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from programs.backbones import Bottleneck, conv, stage
from programs.deeplab import BLOCKS, CLASSES, numbered, zoom


class DeepResNet(nn.Module):
    """Hang Zhang's ResNet with a deep stem, at stride 8; `initial` is what precedes layer1."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        _, _, third, fourth = blocks = BLOCKS[depth]
        stem = nn.Sequential(*numbered(3, 64, 3, stride=2), *numbered(64, 64, 3), conv(64, 128, 3))
        self.initial = nn.Sequential(stem, nn.BatchNorm2d(128), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.layer1 = stage(Bottleneck, 128, 64, 1, [1] * blocks[0])
        self.layer2 = stage(Bottleneck, 256, 128, 2, [1] * blocks[1])
        self.layer3 = stage(Bottleneck, 512, 256, 1, [1] + [2] * (third - 1))
        self.layer4 = stage(Bottleneck, 1024, 512, 1, [2] + [4] * (fourth - 1))

    def features(self, x: Tensor) -> list[Tensor]:
        out = [self.initial(x)]
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            out.append(layer(out[-1]))
        return out[1:]


class PyramidPooling(nn.Module):
    def __init__(self, inside: int, bins: tuple[int, ...], out: int) -> None:
        super().__init__()
        width = inside // len(bins)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), *numbered(inside, width, 1)) for size in bins
        )
        self.bottleneck = nn.Sequential(*numbered(2 * inside, out, 3), nn.Dropout2d(0.1))

    def forward(self, x: Tensor) -> Tensor:
        return self.bottleneck(torch.cat([x, *(zoom(level(x), x) for level in self.stages)], 1))


class PSPNet(DeepResNet):
    """In training it returns the auxiliary branch's scores, too."""

    def __init__(self, depth: int) -> None:
        super().__init__(depth)
        self.master_branch = nn.Sequential(
            PyramidPooling(2048, (1, 2, 3, 6), 512), nn.Conv2d(512, CLASSES, 1)
        )
        self.auxiliary_branch = nn.Sequential(
            *numbered(1024, 512, 3), nn.Dropout2d(0.1), nn.Conv2d(512, CLASSES, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        *_, early, last = self.features(x)
        self.auxiliary = zoom(self.auxiliary_branch(early), x, aligned=False)
        return zoom(self.master_branch(last), x, aligned=False)
