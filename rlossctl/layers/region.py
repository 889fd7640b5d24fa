"""Pooling of regions: ROIPooling of Fast R-CNN, PSROIPooling of R-FCN and ROIAlign of Mask R-CNN."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register

Bins = list[tuple[int, int]]  # start and end of each bin along one axis, clipped to the image


class _Regions(Layer):
    """Base class of all: regions (R, 5) of batch index, x1, y1, x2, y2 in pixels of the net's image."""

    unexportable = "its windows depend on values; export the blobs it reads, and pool regions in your program"

    def __init__(self, setup: Setup, scale: float, rows: int, columns: int) -> None:
        super().__init__(setup)
        self.scale, self.bins = scale, (rows, columns)
        image, regions = setup.bottoms
        if len(image) != 4 or int(torch.Size(regions[1:]).numel()) != 5:
            raise setup.error(
                "needs an image and regions of five numbers",
                found=f"{image} and {regions}",
                expected="(N, C, H, W) and (R, 5): batch index, x1, y1, x2, y2",
            )
        if min(rows, columns) < 1 or not scale > 0:
            raise setup.error(
                "sizes and spatial_scale must be positive",
                found=f"{rows} x {columns}, spatial_scale {scale:g}",
            )

    def forward(self, x: Tensor, regions: Tensor) -> Tensor:
        channels = self.top_channels(x.shape[1])
        if x.is_meta:
            return x.new_empty((regions.shape[0], channels, *self.bins))
        rows = regions.detach().reshape(-1, 5).cpu()
        if len(rows) and not 0 <= int(rows[:, 0].min()) <= int(rows[:, 0].max()) < len(x):
            raise self.error(
                "a region does not belong to an image of the batch",
                found=f"batch index {rows[:, 0].min():g} to {rows[:, 0].max():g}",
                expected=f"0 to {len(x) - 1}",
            )
        pooled = [self.pool(x[int(row[0])], row[1:]) for row in rows]
        return torch.stack(pooled) if pooled else x.new_zeros((0, channels, *self.bins))

    def top_channels(self, channels: int) -> int:
        """Number of channels of the top for this number of channels of the image."""
        return channels

    def pool(self, image: Tensor, box: Tensor) -> Tensor:
        """Pools one box (4,) of one image (C, H, W) to (channels, rows, columns)."""
        raise TypeError(f"{type(self).__name__} has no pool")


@register("ROIPooling", source="Fast R-CNN", bottoms=2, onnx=False)
class ROIPooling(_Regions):
    """The maximum of each of pooled_h x pooled_w bins of each region (roi_pooling_layer.cpp of Fast R-CNN).

    Bottoms: (N, C, H, W), and regions (R, 5): batch index, x1, y1, x2, y2, inclusive, in pixels of the net's
    image; top (R, C, pooled_h, pooled_w). Corners times spatial_scale are rounded; a region is at least one
    value wide and high; bins overlap if their number does not divide it; a bin outside the image gives 0. No
    gradient to the regions.
    """

    def __init__(self, setup: Setup) -> None:
        param = setup.message.roi_pooling_param
        super().__init__(setup, param.spatial_scale, param.pooled_h, param.pooled_w)

    def pool(self, image: Tensor, box: Tensor) -> Tensor:
        left, top, right, bottom = (int(value) for value in _round(box * self.scale))
        rows = self._bins(top, bottom, 0, image.shape[1])
        columns = self._bins(left, right, 1, image.shape[2])
        # Bins are products of intervals: the maximum over rows first, then over columns.
        bands = [image[:, start:end].max(1).values if end > start else None for start, end in rows]
        nothing = image.new_zeros(image.shape[0])
        pooled = [
            nothing if band is None or end <= start else band[:, start:end].max(1).values
            for band in bands
            for start, end in columns
        ]
        return torch.stack(pooled, 1).unflatten(1, self.bins)

    def _bins(self, first: int, last: int, axis: int, limit: int) -> Bins:
        count = self.bins[axis]
        size = torch.tensor(float(max(last - first + 1, 1))) / count
        places = torch.arange(count + 1) * size
        starts, ends = places[:-1].floor() + first, places[1:].ceil() + first
        return _cut(starts, ends, limit)


@register("PSROIPooling", source="R-FCN", bottoms=2, onnx=False)
class PSROIPooling(_Regions):
    """The mean of each of group_size x group_size bins of each region; each bin has its own channels
    (psroi_pooling_layer.cu of R-FCN).

    Bottoms: (N, output_dim group_size^2, H, W), and regions as in ROIPooling; top (R, output_dim, group_size,
    group_size), where bin (i, j) of channel c comes from channel (c group_size + i) group_size + j. Corners
    are rounded before they are scaled, and 1 is added to the right and lower ones; a region is at least 0.1
    wide and high; a bin outside the image gives 0. No gradient to the regions.
    """

    def __init__(self, setup: Setup) -> None:
        param = setup.message.psroi_pooling_param
        super().__init__(setup, param.spatial_scale, param.group_size, param.group_size)
        self.outputs = param.output_dim
        if self.outputs < 1 or setup.bottoms[0][1] != self.outputs * param.group_size**2:
            raise setup.error(
                "the channels must be output_dim times group_size squared",
                found=setup.bottoms[0][1],
                expected=f"{self.outputs} x {param.group_size}^2",
            )

    def top_channels(self, channels: int) -> int:
        return self.outputs

    def pool(self, image: Tensor, box: Tensor) -> Tensor:
        corners = _round(box)
        left, top = corners[0] * self.scale, corners[1] * self.scale
        right, bottom = (corners[2] + 1) * self.scale, (corners[3] + 1) * self.scale
        rows = self._bins(top, bottom, 0, image.shape[1])
        columns = self._bins(left, right, 1, image.shape[2])
        groups = image.unflatten(0, (self.outputs, *self.bins))
        nothing = image.new_zeros(self.outputs)
        pooled = [
            nothing
            if bottom <= top or right <= left
            else groups[:, row, column, top:bottom, left:right].mean((1, 2))
            for row, (top, bottom) in enumerate(rows)
            for column, (left, right) in enumerate(columns)
        ]
        return torch.stack(pooled, 1).unflatten(1, self.bins)

    def _bins(self, first: Tensor, last: Tensor, axis: int, limit: int) -> Bins:
        count = self.bins[axis]
        places = torch.arange(count + 1) * ((last - first).clamp(min=0.1) / count) + first
        return _cut(places[:-1].floor(), places[1:].ceil(), limit)


@register("ROIAlign", source="Mask R-CNN", bottoms=2, onnx=False)
class ROIAlign(_Regions):
    """The mean of bilinear samples in each of pooled_h x pooled_w bins of each region, as in Detectron and
    torchvision (aligned=False).

    Bottoms and top as in ROIPooling. Corners times spatial_scale are not rounded; a region is at least 1 wide
    and high. A bin has sampling_ratio^2 samples at regular places; 0 means as many as the bin is wide and
    high, rounded up. A sample more than 1 outside the image is 0; otherwise it is moved to the border. No
    gradient to the regions. Caffe's forks of ROIAlign do not agree: Detectron's field, sampling_ratio, must
    be there.
    """

    def __init__(self, setup: Setup) -> None:
        param = setup.message.roi_align_param
        super().__init__(setup, param.spatial_scale, param.pooled_h, param.pooled_w)
        self.samples = param.sampling_ratio
        if not param.HasField("sampling_ratio") or self.samples < 0:
            raise setup.error(
                "does not say how many samples a bin has",
                found="no sampling_ratio" if not param.HasField("sampling_ratio") else self.samples,
                expected="sampling_ratio, 0 or more",
                advice="forks without it take the maximum of samples, or the corners of a grid; if yours is "
                "like Detectron's, add its sampling_ratio",
            )

    def pool(self, image: Tensor, box: Tensor) -> Tensor:
        left, top, right, bottom = (box * self.scale).tolist()
        rows = self._weights(image, 1, top, bottom)
        columns = self._weights(image, 2, left, right)
        return rows @ image @ columns.T  # the samples of a bin are a grid, so that its mean has two factors

    def _weights(self, image: Tensor, axis: int, first: float, last: float) -> Tensor:
        """(bins, in): the mean weight of each value of the image in the samples of each bin."""
        bins, length = self.bins[axis - 1], image.shape[axis]
        size = max(last - first, 1.0) / bins
        samples = self.samples or math.ceil(size)
        steps = (torch.arange(samples) + 0.5) * (size / samples)
        places = first + torch.arange(bins)[:, None] * size + steps
        inside = (places >= -1) & (places <= length)
        distance = (places.clamp(0, length - 1)[..., None] - torch.arange(length)).abs()
        weights = (1 - distance).clamp(min=0) * inside[..., None]
        return weights.mean(1).to(image)


def _cut(starts: Tensor, ends: Tensor, limit: int) -> Bins:
    pairs = zip(starts.clamp(0, limit).tolist(), ends.clamp(0, limit).tolist(), strict=True)
    return [(int(start), int(end)) for start, end in pairs]


def _round(x: Tensor) -> Tensor:
    """C's round: rounds halves away from zero."""
    return x.sign() * (x.abs() + 0.5).floor()
