"""Regularizers of soft segmentations that Caffe does not have: EntropyLoss, SizeLoss, PottsLoss,
NormalizedCutLoss and GatedCRFLoss."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlossctl.losses import GatedCRFLoss as GatedCRFModule
from rlossctl.losses import GatedKernel, SizeBounds, entropy_loss, normalized_cut_loss, potts_loss
from rlossctl.losses import SizeLoss as SizeModule
from rlossctl.losses.entropy import unlabelled_weights
from rlossctl.losses.labelled import counting
from rlossctl.net.labels import refuse_unread
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register
from rlossctl.prototxt.messages import (
    EntropyLossParameter,
    GatedCRFKernel,
    GatedCRFLossParameter,
    SizeLossParameter,
)


@register("EntropyLoss", source="rlossctl", bottoms=(1, 3), automatic_tops=1, role="loss")
class EntropyLoss(Layer):
    """Mean of -sum p ln p over the pixels that count (rlossctl.losses.entropy_loss).

    Bottoms: probabilities, and a mask that is not 0 where pixels count; without it all do. With region:
    UNLABELLED bottom 1 holds labels, and the pixels of loss_param.ignore_label count. With `distance` (in
    pixels) each of them counts exp(-d / distance) times, d the distance to the nearest labelled pixel. A
    third bottom is a mask or the image, whose padding, 0 in every channel, does not count. The loss weight
    has no default: it is 0 unless given.
    """

    regularizer = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, loss_param = setup.message.entropy_loss_param, setup.message.loss_param
        refuse_unread(setup, ("ignore_label",))
        self.unlabelled = param.region == EntropyLossParameter.UNLABELLED
        self.distance, self.ignore = param.distance or None, loss_param.ignore_label
        most = 3 if self.unlabelled else 2
        if len(setup.bottoms) > most or (self.unlabelled and len(setup.bottoms) < 2):
            expected = "probabilities, labels and perhaps a mask" if most == 3 else "probabilities and a mask"
            raise setup.error("wrong number of bottoms", found=len(setup.bottoms), expected=expected)
        if self.unlabelled and not loss_param.HasField("ignore_label"):
            raise setup.error(
                "does not know which label stands for none",
                found="region: UNLABELLED without loss_param",
                expected="loss_param { ignore_label: 255 }",
            )
        if self.distance is not None and not self.unlabelled:
            raise setup.error(
                "takes a distance to labels alone",
                found=f"distance: {self.distance:g} with region: MASK",
                expected="region: UNLABELLED",
            )

    def forward(self, prob: Tensor, *others: Tensor) -> Tensor:
        with self.naming():
            if not self.unlabelled:
                return entropy_loss(prob, *map(counting, others))
            weights = unlabelled_weights(prob, others[0], self.distance, self.ignore)
            for mask in others[1:]:
                weights = weights * counting(mask)
            return entropy_loss(prob, weights)


@register("SizeLoss", source="rlossctl", bottoms=(1, 3), automatic_tops=1, role="loss")
class SizeLoss(Layer):
    """How far the soft sizes of the bounded classes are outside their bounds (rlossctl.losses.size_loss).

    Bottoms: probabilities; labels (TAG also: tags (N, C)), which CONSTANT does not need; and a mask or the
    image, whose padding, 0 in every channel, does not count. `bound { class low high }` (repeated) is in
    `unit`: FRACTION of the pixels that count (default) or PIXELS. source: CONSTANT; TAG: 0 for classes that
    the image does not have; PRECISE: the label's size -/+ margin; PRECISE_UPPER: at most that; BOX: low and
    high times the area of the label's boxes. Pixels of loss_param.ignore_label belong to no class; with a
    precise source they do not count. normalize: AREA (default) or AREA2; barrier: QUADRATIC (default) or LOG
    with log_t. The loss weight has no default: it is 0 unless given.
    """

    regularizer = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param, loss_param = setup.message.size_loss_param, setup.message.loss_param
        refuse_unread(setup, ("ignore_label",))
        self.constant = param.source == SizeLossParameter.CONSTANT
        if len(setup.bottoms) == 1 and not self.constant:
            raise setup.error("needs a second bottom", found="1 bottom", expected="probabilities and labels")
        with self.naming():
            self.loss = SizeModule(
                size_bounds(param),
                param.Normalize.Name(param.normalize).lower(),
                param.Barrier.Name(param.barrier).lower(),
                param.log_t,
                loss_param.ignore_label if loss_param.HasField("ignore_label") else None,
            )

    def forward(self, prob: Tensor, *others: Tensor) -> Tensor:
        labels = 0 if self.constant and len(others) < 2 else 1
        with self.naming():
            return self.loss(prob, others[0] if labels else None, *map(counting, others[labels:]))


def size_bounds(param: SizeLossParameter) -> SizeBounds:
    """The message's bounds; a bound without `high` has no upper limit."""
    return SizeBounds(
        [getattr(bound, "class") for bound in param.bound],
        [bound.low for bound in param.bound],
        [bound.high if bound.HasField("high") else math.inf for bound in param.bound],
        param.Source.Name(param.source).lower(),
        param.Unit.Name(param.unit).lower(),
        param.margin,
    )


@register("PottsLoss", source="rlossctl", bottoms=(2, 3), automatic_tops=1, role="loss")
class PottsLoss(Layer):
    """How much neighbouring pixels disagree, weighed by their contrast (rlossctl.losses.potts_loss).

    Bottoms: the image as the net sees it, probabilities of the same size, and a mask that is not 0 where
    pixels count; without it the image's padding, 0 in every channel, does not. relaxation: BILINEAR
    (default), QUADRATIC, NORMALIZED, COLLISION_CROSS_ENTROPY, COLLISION_DIVERGENCE or LOG_QUADRATIC.
    image_std is in the image's units; 0, the default, gives all pairs the same weight. neighbours: 4
    (default) or 8. reduction: EDGES (default), the mean over the pairs of each direction, added up; WEIGHTS;
    or SUM. The loss weight has no default: it is 0 unless given. No gradient to the image.
    """

    regularizer = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.potts_loss_param
        self.settings = (
            param.Relaxation.Name(param.relaxation).lower(),
            param.image_std,
            param.neighbours,
            param.Reduction.Name(param.reduction).lower(),
        )
        without_image_gradient(setup)

    def forward(self, image: Tensor, prob: Tensor, mask: Tensor | None = None) -> Tensor:
        with self.naming():
            counted = counting(image if mask is None else mask)
            return potts_loss(image, prob, counted, *self.settings)


@register("NormalizedCutLoss", source="rlossctl", bottoms=(2, 3), automatic_tops=1, role="loss")
class NormalizedCutLoss(Layer):
    """Mean over images of sum_k S_k^T W (1 - S_k) / (d^T S_k), d = W 1 (rlossctl.losses.normalized_cut_loss).

    Bottoms: the image as the net sees it, a soft segmentation S of the same size, and a mask that is not 0
    where pixels count; without it the image's padding, 0 in every channel, does not. W is the filter of
    DenseCRFLoss with bi_xy_std in pixels (default 40) and bi_rgb_std in the image's units (default 15); mode:
    LATTICE, SYMMETRIC (default) or EXACT. A class with d^T S_k up to eps adds nothing. With DenseCRFLoss
    beside it, this is KernelCut. The loss weight has no default: it is 0 unless given. No gradient to the
    image.
    """

    regularizer = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.normalized_cut_loss_param
        mode = param.Mode.Name(param.mode).lower()
        self.settings = param.bi_xy_std, param.bi_rgb_std, mode, param.eps
        without_image_gradient(setup)

    def forward(self, image: Tensor, seg: Tensor, mask: Tensor | None = None) -> Tensor:
        with self.naming():
            return normalized_cut_loss(image, seg, counting(image if mask is None else mask), *self.settings)


@register("GatedCRFLoss", source="rlossctl", bottoms=(2, 4), automatic_tops=1, role="loss")
class GatedCRFLoss(Layer):
    """Mean over pixels i of sum_j s_j t_i k_ij (1 - <P_i, P_j>), j around i (rlossctl.losses.gated_crf_loss).

    Bottoms: an image, probabilities P, a source mask s and a destination mask t. Image and masks are
    area-averaged to the grid, and a pixel of it counts if its mask is 1 all over it. Without masks the
    image's padding, 0 in every channel, sends nothing; a source mask of several channels is an image, too.
    `kernel { weight xy_std image_std }` (repeated; 1, 6 and 0.1 by default): xy_std in pixels of the grid,
    image_std in the image's units, 0 to leave either out. radius: 5 by default. resolution: the grid's longer
    side, to which P is area-averaged; 0, the default, for P's own size. compatibility (repeated): C rows of C
    penalties in place of Potts. The loss weight has no default: it is 0 unless given. No gradient to the
    image. Inputs that are probably a mistake give a warning, each kind once.
    """

    regularizer = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.gated_crf_loss_param
        without_image_gradient(setup)
        with self.naming():
            self.loss = GatedCRFModule(
                gated_kernels(param),
                param.radius,
                penalties(setup, param),
                param.resolution or None,
                f"{setup.where}: layer {setup.message.name!r} (GatedCRFLoss)",
            )

    def forward(self, image: Tensor, prob: Tensor, *masks: Tensor) -> Tensor:
        source = masks[0] if masks and masks[0].shape[1] == 1 else counting(masks[0] if masks else image)
        with self.naming():
            return self.loss(image, prob, source, *masks[1:])


def gated_kernels(param: GatedCRFLossParameter) -> list[GatedKernel]:
    """The message's kernels, or one with the defaults."""
    messages = param.kernel or [GatedCRFKernel()]
    return [GatedKernel(kernel.weight, kernel.xy_std, kernel.image_std) for kernel in messages]


def penalties(setup: Setup, param: GatedCRFLossParameter) -> Tensor | None:
    """The message's compatibility as a matrix, None for Potts."""
    classes = setup.bottoms[1][1]
    if not param.compatibility:
        return None
    if len(param.compatibility) != classes**2:
        raise setup.error(
            "compatibility must be given for each pair of classes",
            found=f"{len(param.compatibility)} numbers",
            expected=f"{classes} x {classes}, row by row",
        )
    return torch.tensor(param.compatibility, dtype=torch.float64, device="cpu").view(classes, classes)


def without_image_gradient(setup: Setup) -> None:
    """Refuses a layer that is told to send a gradient to the image, bottom 0."""
    if setup.message.propagate_down and setup.message.propagate_down[0]:
        raise setup.error("has no gradient to the image", found="propagate_down: true", expected="false")
