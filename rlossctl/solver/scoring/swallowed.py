"""Classes that a training stops predicting, as under a regularizer or class weights that are too strong.

mIoU hides them: it still rises if the other classes gain more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rlossctl.net import Net
from rlossctl.solver.telling.figures import Improved, TestFigures
from rlossctl.solver.telling.listeners import Listener
from rlossctl.solver.telling.log import Log

KNOWN = 1 / 2  # of its true area: a class was predicted
GONE = 1 / 50  # of its true area: it is hardly predicted
NAMED = 6  # the most classes in one line
NOTICEABLE = 1e-3  # of all pixels: below that, a few photos decide


class Area(NamedTuple):
    """A class's shares of a list's labelled pixels, in the truth and in the prediction."""

    truth: float
    predicted: float

    @property
    def known(self) -> bool:
        """Whether the class is predicted."""
        return self.predicted >= KNOWN * self.truth

    @property
    def gone(self) -> bool:
        """Whether the class is hardly predicted, though there is enough of it."""
        return self.truth >= NOTICEABLE and self.predicted < GONE * self.truth


class Swallowed(Listener):
    """Warns, once for each class, when a test hardly finds a class that an earlier one found.

    It looks at the first test net that counts over a whole list.

    Attributes:
        last: areas by class in the last test; empty before it.
        best: those of the best test, where `monitor` names what is best; empty if this process made none.
    """

    def __init__(self, log: Log, net: Net) -> None:
        self.last: Sequence[Area] = ()
        self.best: Sequence[Area] = ()
        self._log = log
        self._regularized = bool(net.regularizers)
        self._known: dict[int, tuple[int, Area]] = {}
        self._told: set[int] = set()
        self._net: int | None = None

    def tested(self, figures: TestFigures) -> None:
        """Compares the areas with those of the tests before."""
        if figures.counts is None or self._net not in (None, figures.net):
            return
        self._net = figures.net
        total = max(1, int(figures.counts.truth.sum()))
        pairs = np.stack([figures.counts.truth, figures.counts.predicted], axis=-1) / total
        self.last = [Area(*pair) for pair in pairs.tolist()]
        for number, area in enumerate(self.last):
            if area.gone and number in self._known and number not in self._told:
                self._told.add(number)
                self._warn(figures.iter, number, area)
            elif area.known:
                self._known[number] = figures.iter, area

    def improved(self, _best: Improved) -> None:
        """Keeps the areas of the best test."""
        self.best = self.last

    def _warn(self, iteration: int, number: int, area: Area) -> None:
        since, before = self._known[number]
        cause = "regularizer's loss_weight" if self._regularized else "base_lr or unequal class weights"
        self._log.warning(
            f"Iteration {iteration}: class {number} is hardly predicted any more: "
            f"{area.predicted:.2%} of the pixels, {before.predicted:.2%} after {since} iterations, "
            f"{area.truth:.2%} in the labels. If it does not come back, lower the {cause}"
        )


def missing(areas: Sequence[Area]) -> str | None:
    """The classes that are hardly predicted, in words, those with the most pixels first; None without any."""
    gone = sorted((-area.truth, number, area) for number, area in enumerate(areas) if area.gone)
    if not gone:
        return None
    named = [f"{number} ({area.predicted:.2%}, true {area.truth:.2%})" for _, number, area in gone[:NAMED]]
    return ", ".join(named) + (f" and {len(gone) - NAMED} more" if len(gone) > NAMED else "")
