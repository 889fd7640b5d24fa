"""Finds reasons to doubt scores that look fine: masks of 0 and 255 give any model an mIoU of 100.00."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rlossctl.data.label_ids import LabelIds, Suspicion
from rlossctl.evaluation.scoring.tally import Tally


def doubts(tally: Tally, names: Sequence[str], interest: Sequence[int] | None = None) -> list[Suspicion]:
    """What is suspicious about the counted labels and predictions.

    Args:
        names: the names of the model's classes.
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
    """Reports a model that gives every pixel the same class."""
    given = np.flatnonzero(predicted)
    if len(given) == 1 and len(names) > 1:
        only = int(given[0])
        yield Suspicion("one class predicted", f"every pixel gets class {only} ({names[only]})", fatal=True)
