"""Checks of a model's answers, wherever they are computed."""

from __future__ import annotations

from rlossctl.errors import NetError

MOST_CLASSES = 255  # labels are bytes, and VOID is not a class


def check_scores(shape: tuple[int, ...], count: int, classes: int) -> None:
    """Raises NetError unless scores for `count` images and `classes` classes have this shape."""
    if shape[:2] != (count, classes):
        raise NetError(
            "the model's number of scores differs from its number of classes",
            found=f"scores of shape {shape}",
            expected=f"shape ({count}, {classes}, h, w)",
            advice="check which blob holds the scores, and the number of classes",
        )


class NotNumbers(NetError):
    """The scores are NaN."""


def not_numbers() -> NotNumbers:
    """The error for scores that are NaN."""
    return NotNumbers(
        "the model's scores are not numbers (NaN)",
        advice="run rlossctl inspect on the weights, which lists blobs that are not finite (the training may "
        "have diverged); if all are finite, check the preprocessing",
    )
