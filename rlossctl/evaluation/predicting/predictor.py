"""Turns a photo into class probabilities and a prediction: a runner, a protocol, then a rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import UsageError
from rlossctl.evaluation.predicting.modes import Classes, Labels, Mode, choose_mode
from rlossctl.evaluation.predicting.protocol import Protocol
from rlossctl.evaluation.predicting.rules import Decision, Rule
from rlossctl.evaluation.predicting.views import View, Viewed
from rlossctl.evaluation.running.runners import LabelRunner, Runner

if TYPE_CHECKING:
    import torch


class Predictor:
    """A model with everything that decides what it predicts.

    `prepare` and `finish` may run in any thread; only `run` calls the model. `probabilities` and `predict` do
    all three steps for one photo. One of `modes`, chosen once at the start, does the work.

    Args:
        runner: the model.
        preprocess: replaces the runner's own.
        protocol: how photos are shown to the model, and how scores become probabilities; by default whole and
            once.
        rule: how probabilities become a prediction; argmax by default.

    Attributes:
        preprocess: how to prepare images; None if the model does it itself.
        protocol: its activation is never "auto" if the model gives scores.

    Raises:
        NetError: the preprocessing is unknown.
        UsageError: the model gives only labels, but the protocol or the rule needs probabilities; or tiles or
            Caffe's protocol have no size.
    """

    def __init__(
        self,
        runner: Runner | LabelRunner,
        preprocess: Preprocess | None = None,
        protocol: Protocol | None = None,
        rule: Rule | None = None,
    ) -> None:
        self.runner, self.rule = runner, rule or Rule()
        self._mode: Mode[Any] = choose_mode(runner, preprocess, protocol or Protocol(), self.rule)
        self.preprocess, self.protocol = self._mode.preprocess, self._mode.protocol

    @property
    def gives_labels(self) -> bool:
        """Whether the model gives label maps instead of scores."""
        return isinstance(self._mode, Labels)

    @property
    def on_device(self) -> torch.device | None:
        """The device where `run` leaves class ids as torch tensors; None if its answers are numpy arrays."""
        return self._mode.device

    def require_preprocess(self) -> Preprocess:
        """How to prepare images; raises UsageError if the model does it itself."""
        if self.preprocess is None:
            raise UsageError(
                "the model prepares images itself",
                found=self.runner.backend,
                expected="a model that takes prepared images",
            )
        return self.preprocess

    @property
    def num_classes(self) -> int:
        """How many classes the model knows."""
        return self.runner.num_classes

    def probabilities(self, photo: np.ndarray) -> np.ndarray:
        """Class probabilities under the protocol.

        Args:
            photo: uint8 [H, W, 3], blue first.

        Returns:
            float32 [C, H, W]; with Caffe's protocol, at the crop's size.

        Raises:
            UsageError: the model gives only labels.
            NetError: it fails, its scores are NaN, or their number differs from its number of classes.
        """
        return self._mode.probabilities(photo)

    def predict(self, photo: np.ndarray, valid: np.ndarray | None = None) -> Decision:
        """The prediction for one photo (uint8 [H, W, 3] BGR): labels or masks of the same size.

        `valid` is bool [H, W]: the pixels that the rank rules may use.
        """
        views = self.prepare(photo)
        return self.finish(photo, views, self.run(views), valid)

    def predict_with_probabilities(self, photo: np.ndarray) -> tuple[Decision, np.ndarray]:
        """The results of `predict` and `probabilities`, from one pass; raises the same errors."""
        return self._mode.predict_with_probabilities(photo)

    def prepare(self, photo: np.ndarray) -> list[View]:
        """Every input that the protocol makes from a photo."""
        return self._mode.presentation.views(photo)

    def shown(self, photo: np.ndarray, label: np.ndarray, ignore: int) -> tuple[np.ndarray, np.ndarray]:
        """Photo and label at the size of the prediction: unchanged, or padded and cut as Caffe does.

        Args:
            photo: uint8 [H, W, 3].
            label: uint8 [H, W].
            ignore: the label for padding.
        """
        return self._mode.presentation.shown(photo, label, ignore)

    def run(self, views: Sequence[View]) -> Iterator[Any]:
        """The model's answers in the order of the views, for `finish`; batches neighbours of one size."""
        return self._mode.run(views)

    def scores(self, views: Sequence[View]) -> Iterator[np.ndarray]:
        """The model's scores in the order of the views, float32 [C, h, w] each."""
        return self._mode.scores(views)

    def pairs(self, views: Sequence[View], answer: Any, truth: np.ndarray) -> np.ndarray | None:
        """What `finish` would predict, counted against a label without making a label map.

        Args:
            views: a photo's views.
            answer: the model's, for the first of them.
            truth: uint8 [H, W].

        Returns:
            int64 [256, C], how often each true label meets each class; None if the prediction has to be made:
            other rules, several views, or a label of another size.
        """
        if not isinstance(self._mode, Classes) or len(views) > 1 or truth.shape != views[0].keep:
            return None
        return self._mode.pairs(views[0], answer, truth)

    def finish(
        self,
        photo: np.ndarray,
        views: Sequence[View],
        answers: Iterable[Any],
        valid: np.ndarray | None = None,
    ) -> Decision:
        """The prediction from the model's answers for `views`, which `prepare` made from `photo`."""
        return self._mode.finish(Viewed(photo, views, valid), answers)
