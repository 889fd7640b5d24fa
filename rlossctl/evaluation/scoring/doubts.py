"""Reasons to doubt scores that look fine: a mask of 0 and 255 gives mIoU 100.00 to any model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rlossctl.data.label_ids import LabelIds, Suspicion
from rlossctl.evaluation.scoring.tally import Tally


def doubts(tally: Tally, names: Sequence[str], interest: Sequence[int] | None = None) -> list[Suspicion]:
    """What is suspicious about the labels and predictions that were counted.

    Args:
        names: of the model's classes.
        interest: ids of the classes that count; None for all.
    """
    counts = tally.counts().sum()
    ids = LabelIds(tally.ignore)
    ids.pixels[: tally.num_classes] = counts.truth
    ids.pixels[tally.ignore] = tally.confusion.ignored if tally.confusion else 0
    chosen = range(len(names)) if interest is None else interest
    return [
        *ids.one_class("scored"),
        *ids.missing({index: names[index] for index in chosen}),
        *_one_prediction(counts.predicted, names),
    ]


def _one_prediction(predicted: np.ndarray, names: Sequence[str]) -> Iterator[Suspicion]:
    """Reports a model that gives every pixel one class."""
    given = np.flatnonzero(predicted)
    if len(given) == 1 and len(names) > 1:
        only = int(given[0])
        yield Suspicion(
            "one class predicted", f"every pixel is given class {only} ({names[only]})", fatal=True
        )
