"""What a model's answers must be, wherever they are computed."""

from __future__ import annotations

from rlossctl.errors import NetError

VOID = 255  # the label of a pixel that got no class
MOST_CLASSES = 255  # labels are bytes, and VOID is none of the classes


def check_scores(shape: tuple[int, ...], count: int, classes: int) -> None:
    """Raises NetError unless `shape` is that of scores of so many images and classes."""
    if shape[:2] != (count, classes):
        raise NetError(
            "the model gives another number of scores than it has classes",
            found=f"scores of shape {shape}",
            expected=f"shape ({count}, {classes}, h, w)",
            advice="check which blob holds the scores, and the number of classes",
        )


class NotNumbers(NetError):
    """Scores that are NaN."""


def not_numbers() -> NotNumbers:
    """The error for scores that are NaN."""
    return NotNumbers(
        "the model's scores are not numbers (NaN)",
        advice="run rlossctl inspect on the weights, which names blobs that are not finite (the training may "
        "have diverged); if they are finite, check the preprocessing",
    )
