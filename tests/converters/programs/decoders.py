"""pytorch-segmentation's networks with a decoder: FCN8, UNet, SegNet, GCN and ENet."""

from __future__ import annotations

from itertools import chain, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from programs.backbones import Bottleneck, conv, stage
from programs.deeplab import CLASSES, numbered, zoom
from programs.pyramids import DeepResNet, Stages


class FCN8(nn.Module):
    def __init__(self, width: int = 4096) -> None:
        super().__init__()

        def block(*widths: int, pad: int = 1) -> list[nn.Module]:
            parts: list[nn.Module] = []
            for inside, out in pairwise(widths):
                parts += [nn.Conv2d(inside, out, 3, padding=1), nn.ReLU()]
            parts[0].padding = (pad, pad)
            return [*parts, nn.MaxPool2d(2, 2, ceil_mode=True)]

        self.pool3 = nn.Sequential(
            *block(3, 64, 64, pad=100), *block(64, 128, 128), *block(128, 256, 256, 256)
        )
        self.pool4 = nn.Sequential(*block(256, 512, 512, 512))
        self.pool5 = nn.Sequential(*block(512, 512, 512, 512))
        self.adj_pool3, self.adj_pool4 = nn.Conv2d(256, CLASSES, 1), nn.Conv2d(512, CLASSES, 1)
        self.adj_pool3.gain, self.adj_pool4.gain = 1e4, 1e2  # of random weights: their input is made small
        hidden = (nn.Conv2d(512, width, 7), nn.ReLU(), nn.Dropout(), nn.Conv2d(width, width, 1), nn.ReLU())
        self.output = nn.Sequential(*hidden, nn.Dropout(), nn.Conv2d(width, CLASSES, 1))
        for name, factor in (("up_output", 2), ("up_pool4_out", 2), ("up_final", 8)):
            up = nn.ConvTranspose2d(CLASSES, CLASSES, 2 * factor, factor, bias=False)
            ramp = 1 - (torch.arange(2 * factor) - (factor - 0.5)).abs() / factor
            up.weight.data = torch.eye(CLASSES)[:, :, None, None] * (ramp[:, None] * ramp)
            setattr(self, name, up)

    def forward(self, x: Tensor) -> Tensor:
        pool3 = self.pool3(x)
        pool4 = self.pool4(pool3)
        y = self.up_output(self.output(self.pool5(pool4)))
        y = self.up_pool4_out(_cut(self.adj_pool4(0.01 * pool4), 5, y) + y)
        y = self.up_final(_cut(self.adj_pool3(0.0001 * pool3), 9, y) + y)
        return _cut(y, 31, x)


def _cut(x: Tensor, start: int, like: Tensor) -> Tensor:
    return x[:, :, start : start + like.shape[2], start : start + like.shape[3]]


def pair(inside: int, out: int, bias: bool = False) -> nn.Sequential:
    parts = [*numbered(inside, out, 3), *numbered(out, out, 3)]
    if bias:
        parts[0], parts[3] = nn.Conv2d(inside, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
    return nn.Sequential(*parts)


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for level, (inside, out) in enumerate(pairwise((3, 64, 128, 256, 512)), 1):
            down = nn.Module()
            down.down_conv = pair(inside, out)
            setattr(self, f"down{level}", down)
        self.middle_conv = pair(512, 1024, bias=True)
        for level, (inside, out) in enumerate(pairwise((1024, 512, 256, 128, 64)), 1):
            up = nn.Module()
            up.up, up.up_conv = nn.ConvTranspose2d(inside, out, 2, 2), pair(inside, out)
            setattr(self, f"up{level}", up)
        self.final_conv = nn.Conv2d(64, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        copies = []
        for down in (self.down1, self.down2, self.down3, self.down4):
            copies.append(down.down_conv(x))
            x = F.max_pool2d(copies[-1], 2, ceil_mode=True)
        x = self.middle_conv(x)
        for up in (self.up1, self.up2, self.up3, self.up4):
            x = up.up_conv(torch.cat([copies.pop(), up.up(x)], 1))
        return self.final_conv(x)


class UNet2020(nn.Module):
    """Pools behind the convolutions; what comes back a pixel too large is zoomed to what it stands beside."""

    def __init__(self) -> None:
        super().__init__()

        def halved(inside: int, out: int) -> nn.Sequential:
            return nn.Sequential(*numbered(inside, out // 2, 3), *numbered(out // 2, out, 3))

        self.start_conv = halved(3, 64)
        for level, (inside, out) in enumerate(pairwise((64, 128, 256, 512, 1024)), 1):
            down, up = nn.Module(), nn.Module()
            down.down_conv = halved(inside, out)
            up.up, up.up_conv = nn.ConvTranspose2d(out, inside, 2, 2), halved(out, inside)
            setattr(self, f"down{level}", down)
            setattr(self, f"up{5 - level}", up)
        self.middle_conv = halved(1024, 1024)
        self.final_conv = nn.Conv2d(64, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        copies = [self.start_conv(x)]
        for down in (self.down1, self.down2, self.down3, self.down4):
            copies.append(F.max_pool2d(down.down_conv(copies[-1]), 2, ceil_mode=True))
        x = self.middle_conv(copies.pop())
        for up in (self.up1, self.up2, self.up3, self.up4):
            x, copy = up.up(x), copies.pop()
            x = x if x.shape == copy.shape else zoom(x, copy)
            x = up.up_conv(torch.cat([copy, x], 1))
        return self.final_conv(x)


class UNetResnet(DeepResNet):
    def __init__(self, depth: int = 50) -> None:
        super().__init__(depth)
        widths = ((2048, 192, 128), (1152, 128, 96), (608, 96, 64), (320, 64, 48), (48, 48, 32))
        for number, (inside, middle, out) in enumerate(widths, 1):
            setattr(self, f"conv{number}", nn.Conv2d(inside, middle, 3, padding=1))
            setattr(self, f"upconv{number}", nn.ConvTranspose2d(middle, out, 4, 2, 1, bias=False))
        self.conv6, self.conv7 = nn.Conv2d(32, 32, 3, padding=1), nn.Conv2d(32, CLASSES, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        *copies, y = self.features(x)
        for number in range(1, 6):
            y = getattr(self, f"upconv{number}")(getattr(self, f"conv{number}")(y))
            if copies:
                y = torch.cat([zoom(y, copies[-1]), copies.pop()], 1)
        return self.conv7(self.conv6(zoom(y, x)))


class SegNet(nn.Module):
    """Convolutions of one width are the same in encoder and decoder, and so is every norm that fits."""

    def __init__(self) -> None:
        super().__init__()
        encoder = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512,) * 4)
        triples = []
        for number, widths in enumerate(encoder, 1):
            stage = [_triple(inside, out) for inside, out in pairwise(widths)]
            triples += stage
            setattr(self, f"stage{number}_encoder", nn.Sequential(*chain(*stage)))
        decoder = []
        for layer, norm, relu in triples[:0:-1]:
            inside, out = layer.in_channels, layer.out_channels
            decoder.append((layer, norm, relu) if inside == out else _triple(out, inside))
        decoder.append((nn.Conv2d(64, 64, 3, padding=1), triples[0][1], triples[0][2]))
        for number, (start, end) in enumerate(pairwise((0, 3, 6, 9, 11, 13)), 1):
            parts = list(chain(*decoder[start:end]))
            if number == 5:
                parts.append(nn.Conv2d(64, CLASSES, 3, padding=1))
            setattr(self, f"stage{number}_decoder", nn.Sequential(*parts))

    def forward(self, x: Tensor) -> Tensor:
        indices = []
        for number in range(1, 6):
            x, where = F.max_pool2d(getattr(self, f"stage{number}_encoder")(x), 2, return_indices=True)
            indices.append(where)
        for number in range(1, 6):
            x = getattr(self, f"stage{number}_decoder")(F.max_unpool2d(x, indices.pop(), 2))
        return x


def _triple(inside: int, out: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return nn.Conv2d(inside, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()


class Widening(nn.Module):
    """SegResNet's bottleneck to twice the size and half the channels."""

    def __init__(self, inside: int) -> None:
        super().__init__()
        width = inside // 4
        self.conv1, self.bn1 = conv(inside, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _twice(width, width), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, 2 * width, 1), nn.BatchNorm2d(2 * width)
        self.downsample = nn.Sequential(_twice(inside, 2 * width), nn.BatchNorm2d(2 * width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _twice(inside: int, out: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inside, out, 2, 2, bias=False)


class SegResNet(nn.Module):
    """For sizes 32k, at which the program cuts nothing off."""

    def __init__(self) -> None:
        super().__init__()
        pool = nn.MaxPool2d(3, 2, 1, return_indices=True)
        self.first_conv = nn.Sequential(conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), pool)
        self.encoder, self.decoder = nn.Sequential(), nn.Sequential()
        for count, inside, width, stride in (
            (3, 64, 64, 1), (4, 256, 128, 2), (6, 512, 256, 2), (3, 1024, 512, 2)
        ):  # fmt: skip
            self.encoder.append(stage(Bottleneck, inside, width, stride, [1] * count))
        for count, width in ((2, 512), (5, 256), (3, 128)):
            blocks = stage(Bottleneck, 4 * width, width, 1, [1] * count)
            self.decoder.append(blocks.append(Widening(4 * width)))
        last = Bottleneck(256, 64, 1, 1)
        last.conv3, last.bn3 = conv(64, 64, 1), nn.BatchNorm2d(64)
        last.downsample = nn.Sequential(conv(256, 64, 1), nn.BatchNorm2d(64))
        self.decoder.append(stage(Bottleneck, 256, 64, 1, [1] * 2).append(last))
        self.last_conv = nn.Sequential(_twice(64, 64), nn.Conv2d(64, CLASSES, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x, indices = self.first_conv(x)
        return self.last_conv(F.max_unpool2d(self.decoder(self.encoder(x)), indices, 2, 2))


class Global(nn.Module):
    def __init__(self, inside: int) -> None:
        super().__init__()
        for branch, (first, second) in ((1, ((11, 1), (1, 11))), (2, ((1, 11), (11, 1)))):
            for number, channels, size in ((1, inside, first), (2, CLASSES, second)):
                layer = nn.Conv2d(channels, CLASSES, size, padding=(size[0] // 2, size[1] // 2))
                setattr(self, f"conv{branch}{number}", layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv12(self.conv11(x)) + self.conv22(self.conv21(x))


class Refinement(nn.Module):
    """Its norms are there and not used."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(CLASSES), nn.Conv2d(CLASSES, CLASSES, 3, padding=1)
        self.bn2, self.conv2 = nn.BatchNorm2d(CLASSES), nn.Conv2d(CLASSES, CLASSES, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


class GCN(nn.Module):
    def __init__(self, depth: int = 50, deconvolutions: bool = False) -> None:
        super().__init__()
        self.backbone, grow = Stages(depth), 4 if depth >= 50 else 1
        for number, width in enumerate((64, 128, 256, 512), 1):
            setattr(self, f"gcn{number}", Global(grow * width))
        for number in range(1, 10):
            setattr(self, f"br{number}", Refinement())
        for number in range(1, 6 if deconvolutions else 1):
            up = nn.ConvTranspose2d(CLASSES, CLASSES, 3, 2, 1, output_padding=1, bias=False)
            setattr(self, f"decon{number}", up)
        self.final_conv = nn.Conv2d(CLASSES, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, second, third, y = (
            getattr(self, f"br{number}")(getattr(self, f"gcn{number}")(features))
            for number, features in enumerate(self.backbone(x), 1)
        )
        if hasattr(self, "decon1"):
            y = self.br5(third + self.decon4(y))
            y = self.br7(first + self.decon2(self.br6(second + self.decon3(y))))
            return self.final_conv(self.br9(self.decon5(self.br8(self.decon1(y)))))
        for refine, finer in ((self.br5, third), (self.br6, second), (self.br7, first)):
            y = refine(finer + zoom(y, finer))
        return self.final_conv(self.br9(zoom(self.br8(y), x)))


class Initial(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 13, 3, 2, 1)
        self.bn, self.prelu = nn.BatchNorm2d(16), nn.PReLU(16)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.max_pool2d(x, 2, ceil_mode=True)
        return self.prelu(self.bn(torch.cat([pooled, self.conv(x)], 1)))


class ENetBlock(nn.Module):
    """`kind`: a dilation, "asymmetric", "down" or "up"."""

    def __init__(self, inside: int, out: int, kind: int | str = 1, act: type = nn.PReLU) -> None:
        super().__init__()
        width, self.kind, self.extra = inside // 4, kind, out - inside
        size = 2 if kind == "down" else 1
        self.conv1 = nn.Conv2d(inside, width, size, size, bias=False)
        self.bn1, self.prelu1 = nn.BatchNorm2d(width), act()
        if kind == "asymmetric":
            row, column = (
                nn.Conv2d(width, width, (1, 5), 1, (0, 2)),
                nn.Conv2d(width, width, (5, 1), 1, (2, 0)),
            )
            self.conv2 = nn.Sequential(row, nn.BatchNorm2d(width), act(), column)
        elif kind == "up":
            self.conv2 = nn.ConvTranspose2d(width, width, 3, 2, 1, output_padding=1, bias=False)
            self.spatil_conv, self.bn_up = nn.Conv2d(inside, out, 1, bias=False), nn.BatchNorm2d(out)
        else:
            rate = 1 if kind == "down" else kind
            self.conv2 = nn.Conv2d(width, width, 3, 1, rate, rate, bias=False)
        self.bn2, self.prelu2 = nn.BatchNorm2d(width), act()
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3, self.prelu3, self.prelu_out = nn.BatchNorm2d(out), act(), act()

    def forward(self, x: Tensor, indices: Tensor | None = None) -> Tensor:
        shortcut = x
        if self.kind == "down":
            shortcut, self.indices = F.max_pool2d(x, 2, return_indices=True)
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.extra))
        elif self.kind == "up":
            shortcut = F.max_unpool2d(self.bn_up(self.spatil_conv(x)), indices, 2)
        y = self.prelu2(self.bn2(self.conv2(self.prelu1(self.bn1(self.conv1(x))))))
        return self.prelu_out(self.prelu3(self.bn3(self.conv3(y))) + shortcut)


class ENet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.initial = Initial()
        blocks = {10: ENetBlock(16, 64, "down"), **{11 + k: ENetBlock(64, 64) for k in range(4)}}
        blocks[20] = ENetBlock(64, 128, "down")
        kinds = (1, 2, "asymmetric", 4, 1, 8, "asymmetric", 16)
        blocks |= {
            tens + k: ENetBlock(128, 128, kind) for tens in (20, 30) for k, kind in enumerate(kinds, 1)
        }
        blocks |= {40: ENetBlock(128, 64, "up", nn.ReLU), 50: ENetBlock(64, 16, "up", nn.ReLU)}
        blocks |= {41: ENetBlock(64, 64, 1, nn.ReLU), 42: ENetBlock(64, 64, 1, nn.ReLU)}
        blocks[51] = ENetBlock(16, 16, 1, nn.ReLU)
        for number in sorted(blocks):
            setattr(self, f"bottleneck{number}", blocks[number])
        self.numbers = sorted(blocks)
        self.fullconv = nn.ConvTranspose2d(16, CLASSES, 3, 2, 1, output_padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.initial(x)
        for number in self.numbers:
            source = {40: self.bottleneck20, 50: self.bottleneck10}.get(number)
            block = getattr(self, f"bottleneck{number}")
            x = block(x) if source is None else block(x, source.indices)
        return self.fullconv(x)
