"""The ways from a model's inputs to a prediction; `choose_mode` picks one when a predictor is made.

* `Labels`: the model itself gives classes;
* `Classes`: the best class from one view's scores, in numpy;
* `ClassesOnDevice`: the same in torch, on the device that holds the scores;
* `Probabilities`: everything that needs probabilities, from one or more views.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from rlossctl.counts import VOID
from rlossctl.data.preprocess import Preprocess
from rlossctl.data.resize import resize_nearest_centre
from rlossctl.errors import UsageError
from rlossctl.evaluation.predicting.averaging import Averaging, two_classes
from rlossctl.evaluation.predicting.best import best_of_view, pairs_of_view
from rlossctl.evaluation.predicting.fitting import fit_preprocess, fit_protocol
from rlossctl.evaluation.predicting.joining import joined
from rlossctl.evaluation.predicting.protocol import Protocol
from rlossctl.evaluation.predicting.rules import Decision, Rule, decide, decide_by_rank
from rlossctl.evaluation.predicting.views import (
    Presentation,
    View,
    Viewed,
    WholePhotos,
    batches,
    presentation,
    stacked,
)
from rlossctl.evaluation.running.answers import check_scores, not_numbers
from rlossctl.evaluation.running.runners import DeviceRunner, LabelRunner, Runner

if TYPE_CHECKING:
    import torch

Answer = TypeVar("Answer")


class Mode(typing.Protocol[Answer]):
    """One way from a photo's views to a prediction; an Answer is the model's output for one view.

    Attributes:
        protocol: the caller's, with "auto" replaced by the activation.
        preprocess: the caller's, else the model's; None if the model prepares photos itself.
        presentation: makes the views of a photo.
        device: the device of the answers if they are torch tensors of class ids, else None.
    """

    protocol: Protocol
    preprocess: Preprocess | None
    presentation: Presentation
    device: torch.device | None

    def run(self, views: Sequence[View]) -> Iterator[Answer]:
        """The model's answers in the order of the views; up to `protocol.batch` of one size run together."""
        ...

    def finish(self, viewed: Viewed, answers: Iterable[Answer]) -> Decision:
        """The prediction from the answers for all views of a photo."""
        ...

    def scores(self, views: Sequence[View]) -> Iterator[np.ndarray]:
        """Float32 [C, h, w] for each view."""
        ...

    def probabilities(self, photo: np.ndarray) -> np.ndarray:
        """Class probabilities float32 [C, H, W]."""
        ...

    def predict_with_probabilities(self, photo: np.ndarray) -> tuple[Decision, np.ndarray]:
        """Prediction and probabilities, from one pass."""
        ...


def choose_mode(
    runner: Runner | LabelRunner, preprocess: Preprocess | None, protocol: Protocol, rule: Rule
) -> Mode:
    """The mode for a model, a protocol and a rule.

    Args:
        preprocess: replaces the runner's own.

    Raises:
        NetError: the preprocessing is unknown.
        UsageError: the model gives only labels, but the protocol or the rule needs probabilities; or tiles or
            Caffe's protocol have no size.
    """
    if isinstance(runner, LabelRunner):
        _refuse_more_than_labels(runner, preprocess, protocol, rule)
        known = None if runner.takes_photos else fit_preprocess(preprocess, runner)
        return Labels(runner, known, fit_protocol(protocol, runner.intake, known))
    known = fit_preprocess(preprocess, runner)
    fitted = fit_protocol(_with_activation(protocol, runner), runner.intake, known)
    settled = _Settled(runner, known, fitted)
    if not (rule.name == "argmax" and fitted.single):
        return Probabilities(settled, rule)
    # Probabilities are not needed: the activation keeps the order of one view's scores.
    if isinstance(runner, DeviceRunner) and runner.channels > 1:
        return ClassesOnDevice(settled, runner)
    return Classes(settled)


class Labels:
    """For models that give class ids, uint8 [H, W]."""

    device: torch.device | None = None

    def __init__(self, runner: LabelRunner, preprocess: Preprocess | None, protocol: Protocol) -> None:
        self._runner, self.protocol, self.preprocess = runner, protocol, preprocess
        self.presentation: Presentation = (
            WholePhotos()
            if self.preprocess is None
            else presentation(protocol, self.preprocess, runner.intake.room)
        )

    def run(self, views: Sequence[View]) -> Iterator[np.ndarray]:
        """Class ids of each view, uint8 [h, w]."""
        for batch in batches(views, self.protocol.batch):
            yield from self._runner.labels(stacked(batch))

    def finish(self, viewed: Viewed, answers: Iterable[np.ndarray]) -> Decision:
        """The model's ids, joined where the photo ran in tiles, at the photo's size."""
        size = viewed.photo.shape[:2]
        return Decision(labels=resize_nearest_centre(joined(viewed.views, answers), *size))

    def scores(self, views: Sequence[View]) -> Iterator[np.ndarray]:
        """Raises UsageError: the model does not give scores."""
        raise _labels_only(self._runner, "anything but a prediction")

    def probabilities(self, photo: np.ndarray) -> np.ndarray:
        """Raises UsageError: the model does not give probabilities."""
        raise _labels_only(self._runner, "probabilities")

    def predict_with_probabilities(self, photo: np.ndarray) -> tuple[Decision, np.ndarray]:
        """Raises UsageError: the model does not give probabilities."""
        raise _labels_only(self._runner, "probabilities")


@dataclass(frozen=True)
class _Settled:
    """A model that gives scores, with the preprocessing and the protocol chosen for it."""

    runner: Runner
    preprocess: Preprocess
    protocol: Protocol


class _FromScores:
    """The common part of the modes for models that give scores."""

    device: torch.device | None = None

    def __init__(self, settled: _Settled) -> None:
        self._runner, self.protocol = settled.runner, settled.protocol
        self.preprocess: Preprocess | None = settled.preprocess
        self.presentation = presentation(settled.protocol, settled.preprocess, settled.runner.intake.room)
        self._averaging = Averaging(settled.protocol, settled.preprocess, settled.runner.num_classes)

    def scores(self, views: Sequence[View]) -> Iterator[np.ndarray]:
        """Float32 [C, h, w] for each view; raises NetError if C is not the number of classes."""
        for batch in batches(views, self.protocol.batch):
            scores = self._runner.scores(stacked(batch))
            check_scores(scores.shape, len(batch), self._runner.channels)
            yield from scores if self._runner.channels > 1 else two_classes(scores, self.protocol.activation)

    def probabilities(self, photo: np.ndarray) -> np.ndarray:
        """Float32 [C, H, W], under the protocol."""
        views = self.presentation.views(photo)
        return self._averaging.probabilities(photo, views, self.scores(views))


class Classes(_FromScores):
    """The best class from one view's scores, in numpy; answers are scores, float32 [C, h, w]."""

    def run(self, views: Sequence[View]) -> Iterator[np.ndarray]:
        """Scores of each view."""
        return self.scores(views)

    def finish(self, viewed: Viewed, answers: Iterable[np.ndarray]) -> Decision:
        """The class with the greatest score; raises NetError if a score is NaN."""
        classes = (best_of_view(*pair) for pair in zip(viewed.views, answers, strict=True))
        return Decision(labels=joined(viewed.views, classes))

    def pairs(self, view: View, scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """`best.pairs_of_view` for a photo's only view: what `finish` gives, counted against a label."""
        return pairs_of_view(view, scores, truth)

    def predict_with_probabilities(self, photo: np.ndarray) -> tuple[Decision, np.ndarray]:
        """Prediction and probabilities, from one pass."""
        views = self.presentation.views(photo)
        scores = list(self.scores(views))
        decision = self.finish(Viewed(photo, views), scores)
        return decision, self._averaging.probabilities(photo, views, scores)


class ClassesOnDevice(_FromScores):
    """The best class from one view's scores, taken on the device; answers are uint8 [h, w] there."""

    def __init__(self, settled: _Settled, runner: DeviceRunner) -> None:
        super().__init__(settled)
        self._on_device, self.device = runner, runner.device

    def run(self, views: Sequence[View]) -> Iterator[torch.Tensor]:
        """Class ids of each view including its padding, on the device; VOID where a score is NaN."""
        for batch in batches(views, self.protocol.batch):
            yield from self._on_device.best_classes([view.pixels for view in batch])

    def finish(self, viewed: Viewed, answers: Iterable[torch.Tensor]) -> Decision:
        """The answer without padding; raises NetError if a score was NaN."""
        labels = joined(viewed.views, (answer.cpu().numpy() for answer in answers))
        if (labels == VOID).any():
            raise not_numbers()
        return Decision(labels=labels)

    def predict_with_probabilities(self, photo: np.ndarray) -> tuple[Decision, np.ndarray]:
        """Prediction and probabilities, from one pass."""
        views, scores, answers = self.presentation.views(photo), [], []
        for batch in batches(views, self.protocol.batch):
            found = self._on_device.scores_and_classes([view.pixels for view in batch])
            scores += list(found[0])
            answers += list(found[1])
        decision = self.finish(Viewed(photo, views), answers)
        return decision, self._averaging.probabilities(photo, views, scores)


class Probabilities(_FromScores):
    """Class probabilities, then a rule; answers are scores, float32 [C, h, w], for any number of views."""

    def __init__(self, settled: _Settled, rule: Rule) -> None:
        super().__init__(settled)
        self._rule = rule

    def run(self, views: Sequence[View]) -> Iterator[np.ndarray]:
        """Scores of each view."""
        return self.scores(views)

    def finish(self, viewed: Viewed, answers: Iterable[np.ndarray]) -> Decision:
        """The rule's prediction from the probabilities."""
        answers = list(answers) if len(viewed.views) == 1 else answers
        if self._rule.ranks and isinstance(answers, list):
            planes = self._averaging.planes(viewed.photo, viewed.views[0], answers[0])
            if planes is not None:
                return decide_by_rank(planes, self._rule, viewed.valid)
        probabilities = self._averaging.probabilities(viewed.photo, viewed.views, answers)
        return decide(probabilities, self._rule, viewed.valid)

    def predict_with_probabilities(self, photo: np.ndarray) -> tuple[Decision, np.ndarray]:
        """Prediction and probabilities, from one pass."""
        probabilities = self.probabilities(photo)
        return decide(probabilities, self._rule), probabilities


def _with_activation(protocol: Protocol, runner: Runner) -> Protocol:
    """The protocol, with an activation of "auto" replaced by the one that the model needs."""
    if protocol.activation != "auto":
        return protocol
    if runner.activated:
        return replace(protocol, activation="none")
    return replace(protocol, activation="softmax" if runner.channels > 1 else "sigmoid")


def _refuse_more_than_labels(
    runner: LabelRunner, preprocess: Preprocess | None, protocol: Protocol, rule: Rule
) -> None:
    if rule != Rule(unassigned=rule.unassigned):
        raise _labels_only(runner, f"the rule {rule.name}")
    once = replace(protocol, batch=1)
    if not runner.takes_photos and protocol.name == "tiles":
        once = replace(once, name="whole", tile=None, overlap=Protocol().overlap)
    if once != Protocol(resize=None if runner.takes_photos else protocol.resize):
        raise _labels_only(runner, "this protocol")
    if preprocess is not None and runner.takes_photos:
        raise UsageError(
            "the model prepares images itself",
            expected="a command without --mean, --scale, --std, --rgb, --multiple and --crop",
            advice="leave them out",
        )


def _labels_only(runner: LabelRunner, what: str) -> UsageError:
    return UsageError(
        f"class scores are needed for {what}, but the model gives only labels",
        found=runner.backend,
        expected="a model that gives scores, for anything but argmax on whole photos",
        advice="convert the net without putting its preprocessing and argmax inside",
    )
