"""What a solver tells: the figures of an update, of a test, of a snapshot written or read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from rlossctl.counts import ClassCounts
from rlossctl.net import Net
from rlossctl.net.graph import AUTOMATIC


class Term(NamedTuple):
    """One term of the objective: the sum of a weighted top, the mean over the passes; and its loss weight."""

    value: float
    weight: float

    @property
    def weighted(self) -> float:
        """What it adds to the objective."""
        return self.value * self.weight


class Clip(NamedTuple):
    """What clip_gradients did: the gradients' L2 norm, and the factor they were multiplied by."""

    norm: float
    scale: float


@dataclass(frozen=True)
class StepFigures:
    """One update.

    Attributes:
        iter: updates made before it.
        loss: the objective, the mean over the iter_size passes.
        smoothed_loss: the mean of the last average_loss objectives, this one included.
        lr: the rate of the policy, before any lr_mult.
        terms: the objective's terms by blob; a top that the prototxt does not name goes by its layer.
        seconds: what passes and update took.
        outputs: the output blobs of the last pass, detached.
        shown: their values from before the update, in an iteration that `display` shows; None in others.
        pulls: the size of each term's gradient at blob `pulls_at`, where it was measured (see `Pulls`).
        clip: what clip_gradients did; None where it did nothing.
        new_step: how many stepvalues have passed, where lr_policy multistep has just counted one.
        momentum: of this update, where the policy changes it.
    """

    iter: int
    loss: float
    smoothed_loss: float
    lr: float
    terms: Mapping[str, Term]
    seconds: float
    outputs: Mapping[str, Tensor]
    shown: Mapping[str, list[float]] | None = None
    pulls: Mapping[str, float] = field(default_factory=dict)
    pulls_at: str | None = None
    clip: Clip | None = None
    new_step: int | None = None
    momentum: float | None = None


@dataclass(frozen=True)
class TestFigures:
    """One test of one test net.

    Attributes:
        iter: updates made before it.
        net: the test net's number.
        loss: the mean objective, where test_compute_loss asks for it.
        outputs: output blob -> its values: means over the batches, or what counts over the whole list.
        counted: those of them that count over the whole list.
        counts: the list's pixels by class, if an output counts them.
    """

    __test__ = False  # not a class of tests, whatever its name

    iter: int
    net: int
    loss: float | None
    outputs: Mapping[str, list[float]]
    counted: tuple[str, ...] = ()
    counts: ClassCounts | None = None


@dataclass(frozen=True)
class Improved:
    """The best test so far.

    Attributes:
        iter: updates made before it.
        blob, value: the output that `monitor` names.
        model: its weights, None if they are not kept.
    """

    iter: int
    blob: str
    value: float
    model: Path | None


@dataclass(frozen=True)
class Saved:
    """A snapshot that was written: updates made, the weights' file and the solver state."""

    iter: int
    model: Path
    state: Path


@dataclass(frozen=True)
class Resumed:
    """A snapshot that training goes on from.

    Attributes:
        exact: whether random state and data positions were there, too.
    """

    iter: int
    state: Path
    exact: bool


def term_names(net: Net) -> dict[str, str]:
    """Weighted top -> what figures call it: a top that the prototxt does not name goes by its layer."""
    return {
        top: layer.name if top.startswith(AUTOMATIC) and layer.name not in net.loss_weights else top
        for layer in net.layers
        for top in layer.tops
    }
