"""PriorBox and DetectionOutput of SSD: from feature maps to boxes with scores."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register
from rlossctl.prototxt.messages import PriorBoxParameter

SAME = 1e-6  # aspect ratios closer than this count as equal


@register("PriorBox", source="SSD", bottoms=2, gradient=False)
class PriorBox(Layer):
    """Boxes around the centre of every cell of bottom 0, in shares of the image (prior_box_layer.cpp of SSD).

    Bottom 1 is the image; only the sizes of both bottoms are used. Top: (1, 2, H W K 4): corners x1, y1, x2,
    y2 of K boxes for each cell, then the variance of each value (one or four `variance`; 0.1 by default).
    Each min_size gives a square of its size; with max_size also a square of sqrt(min_size max_size); and for
    every other aspect_ratio a (with flip, the default, also 1/a) a box of min_size sqrt(a) by
    min_size / sqrt(a).
    Sizes in pixels are truncated to whole numbers, as in SSD but not in OpenCV. Cells are step pixels apart
    (step_w, step_h; by default image / cells), and the first centre is `offset` steps in. img_size (img_w,
    img_h) replaces the image's size; clip limits the corners to 0..1.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.prior_box_param
        self.param = param
        if any(len(shape) != 4 for shape in setup.bottoms):
            raise setup.error("needs two 4-D bottoms", found=setup.bottoms)
        self._check(param)
        self.sizes = torch.tensor(_sizes(param))  # (K, 2): width and height in pixels
        self.variances = list(param.variance) or [0.1]
        if len(self.variances) == 1:
            self.variances = self.variances * 4

    def _check(self, param: PriorBoxParameter) -> None:
        sizes, largest = list(param.min_size), list(param.max_size)
        if not sizes or min(sizes) <= 0:
            raise self.error("needs min_size above 0", found=sizes)
        if largest and (
            len(largest) != len(sizes) or any(a >= b for a, b in zip(sizes, largest, strict=True))
        ):
            raise self.error("each max_size must be above its min_size", found=f"{sizes} and {largest}")
        if len(param.variance) not in (0, 1, 4) or any(value <= 0 for value in param.variance):
            raise self.error("variance must be given once or four times, above 0", found=list(param.variance))
        for one, pair in (("img_size", ("img_h", "img_w")), ("step", ("step_h", "step_w"))):
            if param.HasField(one) and any(map(param.HasField, pair)):
                raise self.error(f"{one} excludes {pair[0]} and {pair[1]}", expected="one of them")

    def forward(self, cells: Tensor, image: Tensor) -> Tensor:
        param, sizes = self.param, self.sizes.to(cells.device)
        height = param.img_h or param.img_size or image.shape[2]
        width = param.img_w or param.img_size or image.shape[3]
        steps = (
            param.step_w or param.step or width / cells.shape[3],
            param.step_h or param.step or height / cells.shape[2],
        )
        x, y = (
            (torch.arange(count, device=cells.device) + param.offset) * step
            for count, step in zip((cells.shape[3], cells.shape[2]), steps, strict=True)
        )
        shape = (cells.shape[2], cells.shape[3], len(sizes))
        x, y = x[None, :, None].expand(shape), y[:, None, None].expand(shape)
        half_width, half_height = sizes[:, 0] / 2, sizes[:, 1] / 2
        boxes = torch.stack(
            (
                (x - half_width) / width,
                (y - half_height) / height,
                (x + half_width) / width,
                (y + half_height) / height,
            ),
            -1,
        )
        boxes = boxes.clamp(0, 1) if param.clip else boxes
        variances = torch.tensor(self.variances, device=cells.device).expand(boxes.shape)
        return torch.stack((boxes.flatten(), variances.flatten()))[None].to(cells.dtype)


def _sizes(param: PriorBoxParameter) -> list[tuple[float, float]]:
    """Width and height of a cell's boxes, in SSD's order."""
    ratios = [1.0]
    for ratio in param.aspect_ratio:
        if all(abs(ratio - other) >= SAME for other in ratios):
            ratios += [ratio, 1 / ratio] if param.flip else [ratio]
    sizes: list[tuple[float, float]] = []
    for number, least in enumerate(map(int, param.min_size)):
        sizes.append((least, least))
        if param.max_size:
            middle = math.sqrt(least * int(param.max_size[number]))
            sizes.append((middle, middle))
        sizes += [
            (least * math.sqrt(ratio), least / math.sqrt(ratio)) for ratio in ratios if abs(ratio - 1) >= SAME
        ]
    return sizes


@register("DetectionOutput", source="SSD", bottoms=(3, 4), gradient=False, onnx=False)
class DetectionOutput(Layer):
    """The boxes that remain after decoding and non-maximum suppression (detection_output_layer.cpp of SSD).

    Bottoms: locations (N, P L 4), with L = 1 or, with share_location: false, num_classes; scores (N, P C);
    and PriorBox's top for P boxes (a fourth bottom, for drawing, is not used). Top: (1, 1, D, 7); each row is
    image, class, score, x1, y1, x2, y2. code_type (CORNER, CENTER_SIZE, CORNER_SIZE) and
    variance_encoded_in_target say how locations become boxes. Each class except background_label_id keeps the
    scores above confidence_threshold, of these the top_k of nms_param, and of these every box that does not
    overlap an earlier one by more than nms_threshold (which is multiplied by eta while it is above 0.5). Then
    the image's keep_top_k best boxes are kept. Without any detection there is a row (image, -1, ..., -1) for
    every image. Nothing is drawn or written (visualize, save_output_param). No gradient.
    """

    unexportable = (
        "the number of its rows depends on values; export the blobs it reads (--output), and decode those"
    )

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.detection_output_param
        self.classes, self.param = param.num_classes, param
        self.locations = 1 if param.share_location else param.num_classes
        self.top_k = param.nms_param.top_k if param.nms_param.HasField("top_k") else -1
        places, scores, priors = (int(torch.Size(shape[1:]).numel()) for shape in setup.bottoms[:3])
        count = priors // 8
        if self.classes < 1 or places != count * self.locations * 4 or scores != count * self.classes:
            raise setup.error(
                "the bottoms do not match",
                found=f"{places} locations, {scores} scores, {count} boxes",
                expected=f"{count * self.locations * 4} locations and {count * self.classes} scores for "
                f"num_classes {self.classes}",
            )
        if param.nms_param.nms_threshold < 0 or not 0 < param.nms_param.eta <= 1:
            raise setup.error("nms_threshold must not be negative, and eta must be in (0, 1]")

    @torch.no_grad()
    def forward(self, places: Tensor, scores: Tensor, priors: Tensor, *unused: Tensor) -> Tensor:
        if places.is_meta:
            return places.new_empty((1, 1, 1, 7))
        boxes, variances = priors.reshape(2, -1, 4)
        places = places.reshape(len(places), -1, self.locations, 4)
        decoded = self._decoded(places, boxes[:, None], variances[:, None])
        scores = scores.reshape(len(scores), -1, self.classes)
        rows = [
            row for image in range(len(scores)) for row in self._image(image, decoded[image], scores[image])
        ]
        if not rows:
            nothing = scores.new_full((len(scores), 7), -1)
            nothing[:, 0] = torch.arange(len(scores))
            return nothing[None, None]
        return torch.stack(rows)[None, None]

    def _decoded(self, places: Tensor, boxes: Tensor, variances: Tensor) -> Tensor:
        """Locations (N, P, L, 4) as corners."""
        kind = self.param.code_type
        if not self.param.variance_encoded_in_target:
            places = places * variances
        if kind == PriorBoxParameter.CORNER:
            return boxes + places
        sizes = boxes[..., 2:] - boxes[..., :2]
        if kind == PriorBoxParameter.CORNER_SIZE:
            return boxes + places * sizes.repeat(1, 1, 2)
        centres = (boxes[..., :2] + boxes[..., 2:]) / 2 + places[..., :2] * sizes
        half = places[..., 2:].exp() * sizes / 2
        return torch.cat((centres - half, centres + half), -1)

    def _image(self, image: int, boxes: Tensor, scores: Tensor) -> list[Tensor]:
        """The rows of one image: boxes (P, L, 4), scores (P, C)."""
        found: list[Tensor] = []
        for label in range(self.classes):
            if label == self.param.background_label_id:
                continue
            own = boxes[:, 0 if self.locations == 1 else label]
            kept = self._suppressed(own, scores[:, label])
            head = scores.new_tensor([image, label])
            found += [torch.cat((head, scores[index, label, None], own[index])) for index in kept]
        most = self.param.keep_top_k
        if -1 < most < len(found):
            best = torch.stack([row[2] for row in found]).argsort(descending=True, stable=True)[:most]
            found = [found[index] for index in best.tolist()]
            found.sort(key=lambda row: row[1].item())  # by class, as in a C++ map; the sort is stable
        return found

    def _suppressed(self, boxes: Tensor, scores: Tensor) -> list[int]:
        """Indices of the remaining boxes of one class, the best first."""
        least = self.param.confidence_threshold if self.param.HasField("confidence_threshold") else -math.inf
        order = scores.argsort(descending=True, stable=True)
        order = order[scores[order] > least]
        order = order if self.top_k < 0 else order[: self.top_k]
        threshold, eta = self.param.nms_param.nms_threshold, self.param.nms_param.eta
        kept: list[int] = []
        for index in order.tolist():
            if not kept or float(_overlap(boxes[index], boxes[kept]).max()) <= threshold:
                kept.append(index)
                threshold *= eta if eta < 1 and threshold > 0.5 else 1
        return kept


def _overlap(box: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of a box (4,) with others (M, 4); inverted boxes have no area."""
    sides = (torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2])).clamp(min=0)
    common = sides.prod(1)
    areas = (others[:, 2:] - others[:, :2]).clamp(min=0).prod(1) + (box[2:] - box[:2]).clamp(min=0).prod()
    return torch.where(common > 0, common / (areas - common), 0.0)
