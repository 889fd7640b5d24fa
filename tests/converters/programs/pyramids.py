"""pytorch-segmentation's networks with a pyramid of pooled features: PSPNet and UperNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from programs.backbones import Basic, Bottleneck, conv, stage
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


class DenseLayer(nn.Module):
    def __init__(self, inside: int, growth: int, dilation: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inside), conv(inside, 4 * growth, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), conv(4 * growth, growth, 3, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv2(self.norm2(self.conv1(self.norm1(x).relu())).relu())], 1)


class PSPDenseNet(nn.Module):
    """`sizes`: layers in each block of torchvision's DenseNet; only its first transition pools."""

    def __init__(self, sizes: tuple[int, ...], growth: int = 32, stem: int = 64) -> None:
        super().__init__()
        self.block0 = nn.Sequential(
            conv(3, stem, 7, 2), nn.BatchNorm2d(stem), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        channels = stem
        for number, (count, rate) in enumerate(zip(sizes, (1, 1, 2, 4), strict=True), 1):
            layers = {
                f"denselayer{k + 1}": DenseLayer(channels + k * growth, growth, rate) for k in range(count)
            }
            block = nn.Sequential()
            for name, layer in layers.items():
                block.add_module(name, layer)
            setattr(self, f"block{number}", block)
            channels += count * growth
            if number < 4:
                narrow = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), conv(channels, channels // 2, 1))
                if number == 1:
                    norm, relu, last = narrow
                    narrow = nn.Sequential()
                    for name, part in (
                        ("norm", norm),
                        ("relu", relu),
                        ("conv", last),
                        ("pool", nn.AvgPool2d(2)),
                    ):
                        narrow.add_module(name, part)
                setattr(self, f"transition{number}", narrow)
                channels //= 2
        width, early = channels // 4, channels - sizes[3] * growth
        self.master_branch = nn.Sequential(
            PyramidPooling(channels, (1, 2, 3, 6), width), nn.Conv2d(width, CLASSES, 1)
        )
        self.auxiliary_branch = nn.Sequential(
            *numbered(early, width, 3), nn.Dropout2d(0.1), nn.Conv2d(width, CLASSES, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.transition1(self.block1(self.block0(x)))
        y = self.block4(self.transition3(self.block3(self.transition2(self.block2(y)))))
        return zoom(self.master_branch(y), x, aligned=False)


class Stages(nn.Module):
    """torchvision's ResNet with its stem under `initial`; gives all four stages."""

    def __init__(self, depth: int, stride: int = 32) -> None:
        super().__init__()
        self.initial = nn.Sequential(conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        last = (1, 2) if stride == 16 else (2, 1)
        inside = 64
        for number, (count, width, step, rate) in enumerate(
            zip(BLOCKS[depth], (64, 128, 256, 512), (1, 2, 2, last[0]), (1, 1, 1, last[1]), strict=True), 1
        ):
            kind = Bottleneck if depth >= 50 else Basic
            setattr(self, f"layer{number}", stage(kind, inside, width, step, [rate] * count))
            inside = width * (4 if kind is Bottleneck else 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        out = [self.initial(x)]
        for number in range(1, 5):
            out.append(getattr(self, f"layer{number}")(out[-1]))
        return out[1:]


class FeaturePyramid(nn.Module):
    """One smoothing convolution, held three times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1x1 = nn.ModuleList(nn.Conv2d(width, 256, 1) for width in (512, 1024, 2048))
        self.smooth_conv = nn.ModuleList([nn.Conv2d(256, 256, 3, padding=1)] * 3)
        self.conv_fusion = numbered(1024, 256, 3)

    def forward(self, stages: list[Tensor]) -> Tensor:
        levels = [stages[0], *(layer(x) for layer, x in zip(self.conv1x1, stages[1:], strict=True))]
        out = [
            smooth(fine + zoom(coarse, fine))
            for smooth, fine, coarse in zip(self.smooth_conv, levels[:3], levels[1:], strict=True)
        ]
        out.append(levels[3])
        return self.conv_fusion(torch.cat([zoom(x, out[0]) for x in out], 1))


class UperNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Stages(101, stride=16)
        self.PPN = PyramidPooling(2048, (1, 2, 4, 6), 2048)
        self.FPN = FeaturePyramid()
        self.head = nn.Conv2d(256, CLASSES, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        *stages, last = self.backbone(x)
        return zoom(self.head(self.FPN([*stages, self.PPN(last)])), x, aligned=False)
