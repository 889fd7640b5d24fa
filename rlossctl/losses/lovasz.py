"""The Lovasz-softmax and Lovasz-hinge losses (Berman, Rannen Triki and Blaschko 2018), for the IoU."""

from __future__ import annotations

import torch
from torch import Tensor

from rlossctl.losses.labelled import IGNORE, error, labelled, one_of

LOSS = "Lovasz loss"
CLASSES = ("present", "all")
FORMS = ("softmax", "hinge")


class LovaszLoss(torch.nn.Module):
    """`lovasz_loss` with its settings.

    Args:
        classes: "present" or "all".
        per_image: the mean of the images' losses in place of the loss of the batch.
        form: "softmax" or "hinge".
        ignore_label: the label of positions that do not count, None if all do.
    """

    def __init__(
        self,
        classes: str = "present",
        per_image: bool = False,
        form: str = "softmax",
        ignore_label: int | None = IGNORE,
    ) -> None:
        super().__init__()
        self.classes, self.per_image, self.form = classes, per_image, form
        self.ignore_label = ignore_label

    def forward(self, scores: Tensor, label: Tensor) -> Tensor:
        return lovasz_loss(scores, label, self.classes, self.per_image, self.form, self.ignore_label)

    def extra_repr(self) -> str:
        return f"classes={self.classes!r}, per_image={self.per_image}, form={self.form!r}"


def lovasz_loss(
    scores: Tensor,
    label: Tensor,
    classes: str = "present",
    per_image: bool = False,
    form: str = "softmax",
    ignore_label: int | None = IGNORE,
) -> Tensor:
    """The Lovasz extension of 1 - IoU at the errors e of each class: <e sorted descending, steps of 1 - IoU>.

    softmax: e = |[label is c] - p_c| with p = softmax(scores), and the mean over the classes present (or
    all). hinge: one channel of scores z, labels 0 and 1, e = max(0, 1 - z) or max(0, 1 + z). Both of all
    positions of the batch that count, or, with `per_image`, the mean over the images, where an image without
    any counts as 0.

    Args:
        scores: [N, C, H, W] (or [N, C, ...]), before the softmax; for "hinge" C is 1.
        label: [N, H, W] or [N, 1, H, W], class ids of any type; fractions are cut off.
        classes: "present": in the labels that count; "all".
        per_image: see above.
        form: "softmax" or "hinge".
        ignore_label: the label of positions that do not count, None if all do.

    Returns:
        0..1 (hinge: 0 or more), a 0-d float32 tensor (float64 for float64 scores), also under autocast; 0 if
        nothing counts.

    Raises:
        NetError: shapes that do not fit, ids that are neither a class nor ignored, settings out of range.
    """
    one_of(LOSS, "choice of classes", classes, CLASSES)
    one_of(LOSS, "form", form, FORMS)
    if form == "hinge":
        return _hinge(scores, label, per_image, ignore_label)
    given = labelled(LOSS, scores, label, ignore_label)
    own = given.one_hot()
    p = given.scores.softmax(1)
    losses, seen = _extension(torch.where(own, 1 - p, p), own, given.valid, per_image)  # [N or 1, C]
    seen = seen if classes == "present" else torch.ones_like(seen)
    return (losses.where(seen, 0).sum(1) / seen.sum(1).clamp(min=1)).mean()


def _hinge(scores: Tensor, label: Tensor, per_image: bool, ignore_label: int | None) -> Tensor:
    if scores.dim() < 2 or scores.shape[1] != 1:
        raise error(
            LOSS,
            "the hinge form takes one channel of scores",
            found=f"shape {tuple(scores.shape)}",
            expected="(N, 1, H, W)",
            advice="use the softmax form for more classes",
        )
    # Add a second class with score 0, so that the labels 0 and 1 are checked like any others.
    given = labelled(LOSS, torch.cat([torch.zeros_like(scores), scores], 1), label, ignore_label)
    own = given.one_hot()[:, 1:]
    z = given.scores[:, 1:]
    return _extension(1 - torch.where(own, z, -z), own, given.valid, per_image)[0].mean()


def _extension(errors: Tensor, own: Tensor, valid: Tensor, per_image: bool) -> tuple[Tensor, Tensor]:
    """The extension of each class, and whether the class is present: [N, C], or [1, C] of the whole batch.

    Args:
        errors: [N, C, P]; below 0 they count as 0.
        own: [N, C, P], where the class is the label.
        valid: [N, P]; the others are sorted to the end, where they weigh nothing.
    """
    lowest = torch.finfo(errors.dtype).min
    errors = errors.where(valid.unsqueeze(1), lowest)
    if not per_image:
        errors, own = (values.transpose(0, 1).flatten(1).unsqueeze(0) for values in (errors, own))
    errors, order = errors.sort(dim=2, descending=True)
    steps = _jaccard_steps(own.gather(2, order).to(errors.dtype))
    return (errors.clamp(min=0) * steps).sum(2), own.any(2)


def _jaccard_steps(own: Tensor) -> Tensor:
    """How much 1 - IoU grows with each wrong position [..., P], in this order; no gradient."""
    total = own.sum(-1, keepdim=True)
    found = own.cumsum(-1)  # whole numbers: exact up to 2^24 positions in float32
    beyond = (1 - own).cumsum(-1)
    jaccard = 1 - (total - found) / (total + beyond)
    return torch.cat([jaccard[..., :1], jaccard[..., 1:] - jaccard[..., :-1]], -1)
