"""Mean-field inference in a fully connected CRF: the layers of the rloss (DeepLab) fork and of CRF-as-RNN."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rlossctl.bilateral import bilateral_filter, mean_field
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register
from rlossctl.prototxt.messages import MultiStageMeanfieldParameter

NOTHING = 1e-20  # added to the norms, as in CRF-as-RNN
LATER = (  # fields of CRF-as-RNN's later version
    "spatial_filter_weights_str",
    "bilateral_filter_weights_str",
    "forced_spatial_filter_weight",
    "forced_bilateral_filter_weight",
)
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
                    f"{names} must have the same number of values",
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
                "an image and bi_xy_std, bi_rgb_std, bi_w must be given together",
                found=f"{len(self.setup.bottoms)} bottoms, {len(self.colours)} colour potentials",
                expected="a third bottom if, and only if, there are colour potentials",
            )
        if image and (len(image[0]) != 4 or image[0] != (scores[0], 3, *scores[2:])):
            raise self.error(
                "image and scores must have the same batch size, height and width",
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
        """(height, width) of the inferred part -> the images with that size, which are computed together."""
        rows, columns = scores.shape[2:]
        groups: dict[tuple[int, int], list[int]] = {}
        for index, size in enumerate(sizes.reshape(-1, 2).long().tolist()):
            # A blob that fits inside the image is a crop of it; otherwise the image is padded to its size.
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


@register("MultiStageMeanfield", source="CRF-as-RNN", bottoms=(3, 4), tops=(1, 2), onnx=False)
class MultiStageMeanfield(Layer):
    """Mean-field inference whose kernel weights and class compatibilities are learned.

    multi_stage_meanfield.cpp and meanfield_iteration.cpp of torrvision's Caffe. Bottoms: unary scores
    (N, C, H, W), the scores that Q starts from (usually the same), and the image (N, 3, H, W). Each of
    num_iterations rounds computes Q = softmax(scores), its messages m = W_s K_s Q + W_b K_b Q, and new scores
    unary - M m; the top holds the last scores, without a softmax. K_s is the permutohedral filter with
    theta_gamma pixels, K_b the one with theta_alpha pixels and theta_beta in colour; each is divided by its
    result for ones. Blobs, (1, 1, C, C): W_s and W_b, with spatial_filter_weight and bilateral_filter_weight
    on the diagonal, and M, with -1 on the diagonal (POTTS). The gradient goes to the first two bottoms and
    the blobs. The later version, with weights in files, detections and superpixels (a fourth bottom, a second
    top), is refused. It stores seven blobs, which are read if the last four, the weights of detections and
    superpixels, are 0. Not reproduced: batches of one image only.
    """

    spare_blobs = ("detections (x)", "detections (y)", "superpixels", "nothing")

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.multi_stage_meanfield_param
        self.param = param
        self._check_version(param)
        scores, start, image = setup.bottoms
        if len(scores) != 4 or start != scores or image != (scores[0], 3, *scores[2:]):
            raise setup.error(
                "needs scores twice and an image of their size",
                found=", ".join(map(str, setup.bottoms)),
                expected="(N, C, H, W), (N, C, H, W) and (N, 3, H, W)",
            )
        sigmas = (param.theta_alpha, param.theta_beta, param.theta_gamma)
        if min(sigmas) <= 0 or param.num_iterations < 1:
            raise setup.error(
                "theta_alpha, theta_beta, theta_gamma and num_iterations must be positive",
                found=f"{', '.join(f'{sigma:g}' for sigma in sigmas)} and {param.num_iterations}",
            )
        for weight in (param.spatial_filter_weight, param.bilateral_filter_weight, -1.0):
            self.add_blob((1, 1, scores[1], scores[1]), _diagonal(weight))

    def _check_version(self, param: MultiStageMeanfieldParameter) -> None:
        later = [name for name in LATER if param.HasField(name)]
        if later or len(self.setup.bottoms) != 3 or self.setup.tops != 1:
            raise self.error(
                "belongs to the later version of CRF-as-RNN, which is not computed here",
                found=", ".join([*later, f"{len(self.setup.bottoms)} bottoms, {self.setup.tops} tops"]),
                expected="three bottoms, one top, spatial_filter_weight and bilateral_filter_weight",
                advice="its weights come from files, and detections and superpixels from other programs: "
                "end the net before the layer, or write DenseCRF",
            )
        if param.compatibility_mode != MultiStageMeanfieldParameter.POTTS:
            raise self.error("compatibility_mode is not available", expected="POTTS")

    def forward(self, unary: Tensor, start: Tensor, image: Tensor) -> Tensor:
        if unary.is_meta:
            return torch.empty_like(unary)
        kernels = (
            (image[:, :0], self.param.theta_gamma, 1.0),
            (image, self.param.theta_alpha, self.param.theta_beta),
        )
        ones = torch.ones_like(unary[:, :1])
        norms = [bilateral_filter(ones, *kernel) + NOTHING for kernel in kernels]
        *weights, compatibility = (blob.reshape(blob.shape[2:]) for blob in self.blobs)
        scores = start
        for _ in range(self.param.num_iterations):
            q = scores.softmax(1)
            messages = [
                _mix(weight, bilateral_filter(q, *kernel) / norm)
                for weight, kernel, norm in zip(weights, kernels, norms, strict=True)
            ]
            scores = unary - _mix(compatibility, messages[0] + messages[1])
        return scores


def _mix(weights: Tensor, x: Tensor) -> Tensor:
    """A matrix over the channels of (N, C, H, W)."""
    return torch.einsum("kc,nchw->nkhw", weights, x)


def _diagonal(value: float) -> Callable[[Tensor], object]:
    """A filler of (1, 1, C, C)."""
    return lambda blob: blob.copy_((value * torch.eye(blob.shape[-1])).reshape(blob.shape))
