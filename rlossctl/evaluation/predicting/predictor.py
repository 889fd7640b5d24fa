"""From a photo to class probabilities and a prediction: a runner under a protocol, then a rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import UsageError
from rlossctl.evaluation.predicting.modes import Labels, Mode, choose_mode
from rlossctl.evaluation.predicting.protocol import Protocol
from rlossctl.evaluation.predicting.rules import Decision, Rule
from rlossctl.evaluation.predicting.views import View
from rlossctl.evaluation.running.runners import LabelRunner, Runner

if TYPE_CHECKING:
    import torch


class Predictor:
    """A model with all that decides what it predicts.

    `prepare` runs in any thread; `run` calls the model; `finish` needs neither. `probabilities` and `predict`
    do all three for one photo. How they do it is one of `modes`, chosen here once.

    Args:
        runner: the model.
        preprocess: replaces the runner's own.
        protocol: how photos are presented, and how scores become probabilities; whole, once, by default.
        rule: how probabilities become a prediction; argmax by default.

    Attributes:
        preprocess: how images are prepared; None where the model does it itself.
        protocol: its activation is never "auto" where the model gives scores.

    Raises:
        NetError: no preprocessing is known.
        UsageError: the model gives labels only, and protocol or rule need probabilities; tiles or Caffe's
            protocol without a size.
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
        """Whether the model answers with label maps in place of scores."""
        return isinstance(self._mode, Labels)

    @property
    def on_device(self) -> torch.device | None:
        """Where `run` leaves class ids as torch tensors, or None: its answers are numpy's."""
        return self._mode.device

    def require_preprocess(self) -> Preprocess:
        """How images are prepared; raises UsageError where the model does it itself."""
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
            float32 [C, H, W]; with Caffe's protocol of the crop's size.

        Raises:
            UsageError: the model gives labels only.
            NetError: it fails, or its scores are no numbers or of another number than its classes.
        """
        return self._mode.probabilities(photo)

    def predict(self, photo: np.ndarray, valid: np.ndarray | None = None) -> Decision:
        """The prediction for one photo (uint8 [H, W, 3] BGR): labels or masks of its size.

        `valid` is bool [H, W]: pixels that the rank rules may use.
        """
        views = self.prepare(photo)
        return self.finish(photo, views, self.run(views), valid)

    def predict_with_probabilities(self, photo: np.ndarray) -> tuple[Decision, np.ndarray]:
        """What `predict` and `probabilities` give of a photo, from one pass; raises as they do."""
        return self._mode.both(photo)

    def prepare(self, photo: np.ndarray) -> list[View]:
        """Every input that the protocol makes of a photo."""
        return self._mode.presentation.views(photo)

    def shown(self, photo: np.ndarray, label: np.ndarray, ignore: int) -> tuple[np.ndarray, np.ndarray]:
        """Photo and label at the size of the prediction: themselves, or padded and cut as Caffe does.

        Args:
            photo: uint8 [H, W, 3].
            label: uint8 [H, W].
            ignore: what padding is labelled with.
        """
        return self._mode.presentation.shown(photo, label, ignore)

    def run(self, views: Sequence[View]) -> Iterator[Any]:
        """The model's answers in the views' order, for `finish`; neighbours of one size go together."""
        return self._mode.run(views)

    def scores(self, views: Sequence[View]) -> Iterator[np.ndarray]:
        """The model's scores in the views' order, float32 [C, h, w] each."""
        return self._mode.scores(views)

    def finish(
        self,
        photo: np.ndarray,
        views: Sequence[View],
        answers: Iterable[Any],
        valid: np.ndarray | None = None,
    ) -> Decision:
        """The prediction from the model's answers to `views`, those that `prepare` gave for `photo`."""
        return self._mode.finish(photo, views, answers, valid)
