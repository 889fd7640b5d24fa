"""What the losses share: labels and masks in one form, float types, one form of errors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlossctl.bilateral.ops import working_type
from rlossctl.errors import NetError

IGNORE = 255  # the ignore label of PASCAL VOC and most data sets after it


@dataclass(frozen=True)
class Labelled:
    """Scores with their labels, P positions an image.

    Attributes:
        scores: [N, C, P] in float32, or float64 if they came so.
        ids: [N, P] int64, 0 where ignored.
        valid: [N, P], False where ignored.
    """

    scores: Tensor
    ids: Tensor
    valid: Tensor

    @property
    def counted(self) -> Tensor:
        """How many positions are not ignored, at least 1."""
        return self.valid.sum().clamp(min=1)

    def one_hot(self) -> Tensor:
        """[N, C, P], True for the class of a position; all False where it is ignored."""
        classes = torch.arange(self.scores.shape[1], device=self.ids.device)
        return (self.ids.unsqueeze(1) == classes[:, None]) & self.valid.unsqueeze(1)


def labelled(loss: str, scores: Tensor, label: Tensor, ignore_label: int | None) -> Labelled:
    """Scores [N, C, ...] and one class id per position, brought together and checked.

    Raises:
        NetError: other shapes, ids that are neither a class nor ignored; its `samples` are the images that
            hold those.
    """
    scores = floats(loss, scores)
    rows = scores.flatten(2) if scores.dim() > 2 else scores.unsqueeze(-1)
    if label.numel() != rows.shape[0] * rows.shape[2] or label.shape[:1] != rows.shape[:1]:
        raise error(
            loss,
            "needs one label per position",
            found=f"scores {tuple(scores.shape)}, labels {tuple(label.shape)}",
            expected=f"labels {(len(scores), *scores.shape[2:])}, with or without a channel axis of 1",
            advice="bring scores and labels to one size (Interp)",
        )
    ids = label.detach().to(rows.device).reshape(rows.shape[0], rows.shape[2]).long()
    valid = torch.ones_like(ids, dtype=torch.bool) if ignore_label is None else ids != ignore_label
    _check_ids(loss, ids, valid, rows.shape[1], ignore_label)
    return Labelled(rows, ids.where(valid, 0), valid)


def floats(loss: str, scores: Tensor) -> Tensor:
    """[N, C, ...] in the type to compute with: float32, or float64 if it comes so; also under autocast."""
    if not scores.is_floating_point() or scores.dim() < 2:
        raise error(
            loss,
            "needs floating-point scores with a class axis",
            found=f"{tuple(scores.shape)} of {scores.dtype}",
            expected="(N, C, H, W)",
        )
    return scores.to(working_type(scores))


def planes(loss: str, mask: Tensor | None, values: Tensor) -> Tensor:
    """The mask of values [N, C, H, W] as [N, 1, H, W] in their type, without gradient; ones for None."""
    if mask is None:
        return values.new_ones((len(values), 1, *values.shape[2:]))
    plane = mask.unsqueeze(1) if mask.dim() == 3 else mask
    if plane.shape != (len(values), 1, *values.shape[2:]):
        raise error(
            loss,
            "probabilities and mask do not fit",
            found=f"{tuple(values.shape)} and {tuple(mask.shape)}",
            expected="(N, C, H, W) and (N, H, W) or (N, 1, H, W)",
        )
    return plane.detach().to(values)


def counting(blob: Tensor) -> Tensor:
    """[N, 1, H, W], 1 where any channel of [N, C, H, W] is not 0: a mask, or what an image leaves of padding.

    Padding of a mean-subtracted image is 0 in every channel.
    """
    return (blob.detach() != 0).any(1, keepdim=True).to(blob.dtype)


def planar(loss: str, prob: Tensor) -> Tensor:
    """Probabilities [N, C, H, W] in the type to compute with."""
    if prob.dim() != 4:
        raise error(
            loss, "needs probabilities of images", found=f"shape {tuple(prob.shape)}", expected="(N, C, H, W)"
        )
    return floats(loss, prob)


def photo(loss: str, image: Tensor, values: Tensor) -> Tensor:
    """An image that fits values [N, C, H, W], in their type, without gradient."""
    if image.dim() != 4 or len(image) != len(values) or image.shape[2:] != values.shape[2:]:
        raise error(
            loss,
            "image and probabilities must have equal batch, height and width",
            found=f"image {tuple(image.shape)}, probabilities {tuple(values.shape)}",
            expected="(N, colours, H, W) and (N, C, H, W)",
            advice="resize one of them (Interp)",
        )
    return image.detach().to(values)


def one_of(loss: str, name: str, found: str, choices: tuple[str, ...]) -> None:
    """Refuses a word that is not one of the choices."""
    if found not in choices:
        raise error(loss, f"does not know this {name}", found=repr(found), expected=", ".join(choices))


def not_below(loss: str, name: str, found: float, least: float) -> None:
    """Refuses a number below `least`, infinity and NaN."""
    if not least <= found < float("inf"):
        raise error(loss, f"{name} is out of range", found=found, expected=f"a number from {least:g}")


def above_zero(loss: str, name: str, found: float) -> None:
    """Refuses what is not a finite number above 0."""
    if not 0 < found < float("inf"):
        raise error(loss, f"{name} is out of range", found=found, expected="a number above 0")


def error(loss: str, message: str, *, found: object, expected: object, advice: str | None = None) -> NetError:
    """What is wrong with a loss's arguments."""
    advice = advice or "docs/losses.md shows what each loss takes"
    return NetError(message, where=loss, found=found, expected=expected, advice=advice)


def _check_ids(loss: str, ids: Tensor, valid: Tensor, classes: int, ignore: int | None) -> None:
    if ids.is_meta or torch.compiler.is_compiling():
        return
    wrong = valid & ((ids < 0) | (ids >= classes))
    if not wrong.any():
        return
    names = torch.unique(ids[wrong]).tolist()
    refusal = error(
        loss,
        "label ids out of range",
        found=", ".join(map(str, names[:10])) + (", ..." if len(names) > 10 else ""),
        expected=f"0 to {classes - 1}" + ("" if ignore is None else f", or the ignore label {ignore}"),
        advice="check the label images, num_output of the classifier and the ignore label",
    )
    refusal.samples = wrong.any(1).nonzero().flatten().tolist()
    refusal.batch_size = len(ids)
    raise refusal
