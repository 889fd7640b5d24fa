"""DenseCRF: mean-field inference of a fully connected CRF, the rloss (DeepLab) fork's layer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlossctl.bilateral import mean_field
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register

LOG_SMALLEST = math.log(torch.finfo(torch.float32).tiny)


@register("DenseCRF", source="rloss", bottoms=(2, 3), gradient=False, onnx=False)
class DenseCRF(Layer):
    """Mean-field inference with Potts potentials over position, and over position and colour.

    dense_crf_layer.cpp. Bottoms: scores (N, K, H, W), height and width of each image without its padding
    (N, 1, 1, 2), and the image (N, 3, H, W), mean-subtracted, scale 1. Q starts as the softmax of the scores;
    max_iter times (default 10) Q = softmax(scores + sum w K Q / K 1), where K is the permutohedral filter of
    pos_xy_std or of bi_xy_std and bi_rgb_std, and w pos_w or bi_w (lists; no defaults: without them nothing
    is smoothed). exp counts as 0 below -20. The top is Q, or with output_probability: false
    log(max(Q, FLT_MIN)), and 0 outside the image. No gradient. Not reproduced: the original
    crashes without a third bottom (here: two are enough without colour potentials), and does not use each
    image's own colours in a batch (here: it does).
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.dense_crf_param
        self.iterations, self.gives_probability = param.max_iter, param.output_probability
        positions, colours = (param.pos_xy_std, param.pos_w), (param.bi_xy_std, param.bi_rgb_std, param.bi_w)
        for lists, names in ((positions, "pos_xy_std, pos_w"), (colours, "bi_xy_std, bi_rgb_std, bi_w")):
            if len({len(values) for values in lists}) != 1:
                raise setup.error(
                    f"{names} must be given equally often",
                    found=", ".join(str(len(values)) for values in lists),
                )
        self.positions = list(zip(*positions, strict=True))
        self.colours = list(zip(*colours, strict=True))
        self._check_bottoms()

    def _check_bottoms(self) -> None:
        scores, sizes, *image = self.setup.bottoms
        if len(scores) != 4 or tuple(sizes) != (scores[0], 1, 1, 2):
            raise self.error(
                "needs scores, and a height and a width per image",
                found=f"{scores} and {sizes}",
                expected="(N, K, H, W) and (N, 1, 1, 2)",
            )
        if bool(image) != bool(self.colours):
            raise self.error(
                "an image and bi_xy_std, bi_rgb_std, bi_w belong together",
                found=f"{len(self.setup.bottoms)} bottoms, {len(self.colours)} colour potentials",
                expected="a third bottom exactly if there are colour potentials",
            )
        if image and (len(image[0]) != 4 or image[0] != (scores[0], 3, *scores[2:])):
            raise self.error(
                "image and scores must have equal batch, height and width",
                found=f"image {image[0]}, scores {scores}",
                expected=f"{(scores[0], 3, *scores[2:])}",
                advice="resize the scores with Interp",
            )

    @torch.no_grad()
    def forward(self, scores: Tensor, sizes: Tensor, image: Tensor | None = None) -> Tensor:
        top = torch.zeros_like(scores)
        if scores.is_meta:
            return top
        for (height, width), members in self._by_size(scores, sizes).items():
            part = (members, slice(None), slice(height), slice(width))
            colours = None if image is None else image[part]
            q = mean_field(scores[part], colours, self.iterations, pos=self.positions, bi=self.colours)
            top[part] = q if self.gives_probability else q.log().clamp(min=LOG_SMALLEST)
        return top

    def _by_size(self, scores: Tensor, sizes: Tensor) -> dict[tuple[int, int], list[int]]:
        """(height, width) of what is inferred -> the images of that size, which are inferred together."""
        rows, columns = scores.shape[2:]
        groups: dict[tuple[int, int], list[int]] = {}
        for index, size in enumerate(sizes.reshape(-1, 2).long().tolist()):
            # A blob that fits inside the image is a crop of it; otherwise the image is padded to the blob.
            cropped = rows <= size[0] and columns <= size[1]
            height, width = (rows, columns) if cropped else size
            if not (0 < height <= rows and 0 < width <= columns):
                raise self.error(
                    "the image's size does not fit the scores",
                    found=size,
                    expected=f"within {rows}x{columns}",
                )
            groups.setdefault((height, width), []).append(index)
        return groups
