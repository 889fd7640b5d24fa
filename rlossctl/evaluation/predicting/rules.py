"""Turns class probabilities into a prediction: argmax, a threshold, or the best expected Dice or IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rlossctl.counts import VOID
from rlossctl.errors import DataError, UsageError
from rlossctl.evaluation.predicting import rank
from rlossctl.evaluation.predicting.best import address, best_class
from rlossctl.evaluation.predicting.planes import Planes, source_of

# Losses whose expectation is lowest at the true probabilities and only there.
_STRICTLY_PROPER = {"SoftmaxWithLoss", "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss"}
SLACK = 1e-5  # how much rounding may add to an interpolated probability


@dataclass(frozen=True)
class Rule:
    """How probabilities become a prediction.

    Attributes:
        name: "argmax"; "threshold" (every class whose probability reaches `threshold`); "rankdice" or
            "rankiou" (for each image and class, the mask with the greatest expected Dice or IoU).
        output: "labels" gives one class per pixel, "masks" gives one mask per class, which may overlap.
        threshold: for the rule "threshold", 0 to 1.
        solver: for the rank rules, one of `rank.SOLVERS`.
        prune: a class whose greatest probability in the image is not above this is left out (rank rules);
            0 keeps all.
        smooth: added to numerator and denominator of Dice or IoU (rank rules).
        unassigned: the label of a pixel outside all masks: "max_score" (the class with the greatest marginal
            gain, or with a threshold the most probable class) or "void" (255, which counts as wrong).
        drop_ignored: leave out ignored pixels before choosing masks (rank rules). This looks at the truth.

    Raises:
        UsageError: values are unknown or out of range.
    """

    name: Literal["argmax", "threshold", "rankdice", "rankiou"] = "argmax"
    output: Literal["labels", "masks"] = "labels"
    threshold: float = 0.5
    solver: str = rank.DEFAULT
    prune: float = 0.5
    smooth: float = 0.0
    unassigned: Literal["max_score", "void"] = "max_score"
    drop_ignored: bool = False

    def __post_init__(self) -> None:
        in_range = 0 <= self.threshold <= 1 and 0 <= self.prune <= 1 and 0 <= self.smooth < float("inf")
        known = (
            self.name in ("argmax", "threshold", "rankdice", "rankiou")
            and self.output in ("labels", "masks")
            and self.unassigned in ("max_score", "void")
        )
        if not (in_range and known and self.solver in rank.SOLVERS):
            raise UsageError(
                "this is not a valid prediction rule",
                found=self,
                expected="argmax, threshold, rankdice or rankiou; threshold and prune in 0..1, smooth >= 0",
            )
        if self.name == "argmax" and self.output == "masks":
            raise UsageError(
                "argmax gives one class per pixel, not overlapping masks",
                expected="threshold, rankdice or rankiou with masks",
                advice="leave out --masks",
            )
        if self.name.startswith("rank"):
            rank.check(self.name.removeprefix("rank"), self.solver)

    @property
    def ranks(self) -> bool:
        """Whether masks are chosen by their expected Dice or IoU."""
        return self.name.startswith("rank")


@dataclass(frozen=True)
class Decision:
    """A prediction for one image: exactly one of the two is set.

    Attributes:
        labels: uint8 [H, W] of class ids and VOID.
        masks: bool [C, H, W], which may overlap or leave pixels out.
    """

    labels: np.ndarray | None = None
    masks: np.ndarray | None = None

    @property
    def label_map(self) -> np.ndarray:
        """The labels; raises ValueError if the rule gave masks."""
        if self.labels is None:
            raise ValueError("masks can overlap, so they are not one class per pixel")
        return self.labels


def calibration_note(rule: Rule, losses: Sequence[str]) -> str | None:
    """A warning if a rank rule relies on probabilities that training had no reason to make true.

    Args:
        losses: types of the loss layers that the model was trained with; empty if unknown.
    """
    improper = [kind for kind in losses if kind not in _STRICTLY_PROPER]
    if not (rule.ranks and improper):
        return None
    return (
        f"{rule.name} relies on the probabilities, but training with {', '.join(improper)} (not strictly "
        "proper) distorts them; compare with argmax"
    )


def decide(probabilities: np.ndarray, rule: Rule, valid: np.ndarray | None = None) -> Decision:
    """Applies a rule to one image.

    Args:
        probabilities: float [C, H, W], each in 0..1; rows over C need not sum to 1 (sigmoid outputs).
        valid: bool [H, W], pixels that the rank rules may use; elsewhere masks are empty, and the label is
            the most probable class.

    Raises:
        DataError: probabilities are outside 0..1, NaN, or of another shape.
    """
    check_probabilities(probabilities)
    if rule.name == "argmax":
        return Decision(labels=best_class(probabilities))
    if rule.name == "threshold":
        masks = probabilities >= rule.threshold
        if rule.output == "masks":
            return Decision(masks=masks)
        by_probability = rank.Gains.by_probability(len(masks))
        return Decision(labels=_label_by(masks, probabilities, by_probability, rule.unassigned))
    return decide_by_rank(probabilities, rule, valid)


def decide_by_rank(probabilities: Planes, rule: Rule, valid: np.ndarray | None = None) -> Decision:
    """As `decide` for the rank rules, from probabilities that are known to be such."""
    metric = rule.name.removeprefix("rank")
    chosen = rank.choose(probabilities, metric, rule.solver, rule.prune, rule.smooth, valid)
    if rule.output == "masks":
        return Decision(masks=chosen.masks)
    gains = rank.Gains.of(probabilities, chosen, metric, rule.smooth)
    return Decision(labels=_label_by(chosen.masks, probabilities, gains, rule.unassigned))


def check_probabilities(probabilities: np.ndarray) -> None:
    """Raises DataError unless these are values in 0..1 (up to rounding) with shape [C, H, W]."""
    low, high = (probabilities.min(), probabilities.max()) if probabilities.size else (np.nan, np.nan)
    if probabilities.ndim != 3 or not (low >= -SLACK and high <= 1 + SLACK):  # NaN fails both
        raise DataError(
            "these are not class probabilities",
            found=f"shape {probabilities.shape}, values from {low:g} to {high:g}",
            expected="[classes, height, width], values from 0 to 1",
            advice="scores need --activation softmax or sigmoid",
        )


def _label_by(masks: np.ndarray, probabilities: Planes, gains: rank.Gains, unassigned: str) -> np.ndarray:
    """One class per pixel: among the masks that cover it (all classes if none does), the greatest gain.

    Only pixels in no mask or in several need gains.

    Args:
        masks: bool [C, H, W].
        unassigned: as in `Rule`.

    Returns:
        uint8 [H, W].
    """
    source, void = source_of(probabilities), unassigned == "void"
    if source is not None:
        masks, terms = np.ascontiguousarray(masks), np.ascontiguousarray(gains.terms)
        labels = np.empty(masks.shape[1:], np.uint8)
        source.handle.labels(
            address(masks),
            *map(address, terms),
            gains.smooth,
            gains.iou,
            VOID if void else -1,
            address(labels),
            source.threads,
        )
        return labels
    count = masks.sum(axis=0, dtype=np.uint8)
    labels = np.zeros(count.shape, np.uint8)
    for index, mask in enumerate(masks):
        labels[mask] = index
    unsure = count > 1 if void else count != 1
    p = np.stack([probabilities[index][unsure] for index in range(len(masks))])
    among = masks[:, unsure] | (count[unsure] == 0)
    if p.size:
        labels[unsure] = best_class(np.where(among, gains.at(p), -np.inf))
    if void:
        labels[count == 0] = VOID
    return labels
