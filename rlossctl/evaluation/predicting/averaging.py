"""Turns the scores of a photo's views into class probabilities: activation, average, dense CRF."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError
from rlossctl.evaluation.predicting.best import kernel
from rlossctl.evaluation.predicting.planes import Softmax
from rlossctl.evaluation.predicting.protocol import Crf, Protocol
from rlossctl.evaluation.predicting.upsample import upsample
from rlossctl.evaluation.predicting.views import View
from rlossctl.evaluation.running.answers import not_numbers


@dataclass(frozen=True)
class Averaging:
    """How the scores of one photo's views become its class probabilities.

    Attributes:
        protocol: gives the activation, which must not be "auto" here, and the CRF.
        preprocess: gives the mean that is subtracted from the CRF's colours.
        num_classes: the number of score channels.
    """

    protocol: Protocol
    preprocess: Preprocess
    num_classes: int

    def probabilities(
        self, photo: np.ndarray, views: Sequence[View], scores: Iterable[np.ndarray]
    ) -> np.ndarray:
        """Float32 [C, H, W] at the photo's size; with Caffe's protocol, at the crop's.

        Args:
            photo: uint8 [H, W, 3] BGR.
            scores: float32 [C, h, w], one array per view.

        Raises:
            NetError: scores are NaN, or are already probabilities.
        """
        size = views[0].scaled if self.protocol.name == "caffe" else (photo.shape[0], photo.shape[1])
        means = self._at_each_scale(views, scores)
        parts = [upsample(part[None], size, corners=False)[0] for part in means]
        mean = parts[0] if len(parts) == 1 else sum(parts[1:], parts[0]) / np.float32(len(parts))
        return mean if self.protocol.crf is None else self._refine(mean, photo, self.protocol.crf)

    def planes(self, photo: np.ndarray, view: View, scores: np.ndarray) -> Softmax | None:
        """As `probabilities` for a photo's only view, class by class; None where that is not possible.

        Args:
            photo: uint8 [H, W, 3] BGR.
            scores: float32 [C, h, w].

        Raises:
            NetError: as for `probabilities`.
        """
        native, size = kernel(), (photo.shape[0], photo.shape[1])
        whole = view.keep == view.scaled and not view.flipped
        simple = self.protocol.activation == "softmax" and self.protocol.crf is None
        if native is None or scores.dtype != np.float32 or not (whole and simple):
            return None
        if self.protocol.name != "caffe" and view.scaled != size:
            return None
        if np.isnan(scores.max()):
            raise not_numbers()
        found = Softmax(view, scores, self.protocol.temperature, native)
        if not found.finite:
            return None
        if not found.negative:
            refuse_probabilities(view.enlarged(scores))
        return found

    def _at_each_scale(self, views: Sequence[View], scores: Iterable[np.ndarray]) -> list[np.ndarray]:
        """The mean of the views of each size of the photo, [C, *view.scaled]."""
        averages: dict[tuple[int, int], _Average] = {}
        for view, own in zip(views, scores, strict=True):
            if np.isnan(own.max()):
                raise not_numbers()
            values = activate(view.enlarged(own), self.protocol)
            if len(views) == 1 and view.keep == view.scaled and not view.flipped and values.base is None:
                return [values]  # of one view, and not part of the model's memory: nothing to average
            if view.scaled not in averages:
                averages[view.scaled] = _Average(self.num_classes, view.scaled)
            averages[view.scaled].add(view, values)
        return [average.mean() for average in averages.values()]

    def _refine(self, probabilities: np.ndarray, photo: np.ndarray, crf: Crf) -> np.ndarray:
        """The dense CRF's probabilities; the mean is subtracted from the colours, as in the layer's input."""
        from rlossctl.evaluation.predicting.crf import refine

        colours = photo.astype(np.float32) - np.asarray(self.preprocess.mean_bgr, np.float32)
        return refine(probabilities, colours, crf)


def activate(scores: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Applies the protocol's temperature and activation to scores [C, h, w]."""
    kind, temperature = protocol.activation, np.float32(protocol.temperature)
    if kind == "none":
        return scores
    if kind == "sigmoid":
        return 1 / (1 + np.exp(-np.clip(scores / temperature, -80, 80)))
    refuse_probabilities(scores)
    powers = scores - scores.max(axis=0)
    if temperature != 1:
        powers /= temperature
    np.exp(powers, out=powers)  # in place: fresh memory takes as long as the arithmetic
    total = powers[0].copy()
    for plane in powers[1:]:  # in this order whatever the layout, so that the native pass gets the same bits
        total += plane
    powers /= total
    return powers


def refuse_probabilities(scores: np.ndarray) -> None:
    """Raises NetError if scores [C, h, w] look like a softmax's result."""
    if scores.min() >= 0 and np.abs(scores.sum(axis=0) - 1).max() < 1e-3:
        raise NetError(
            "the model's scores are already probabilities",
            found="values of at least 0 that sum to 1 at every pixel",
            expected="scores before the softmax",
            advice="use --activation none",
        )


def two_classes(score: np.ndarray, activation: str) -> np.ndarray:
    """The scores of class 0 and class 1 from the only channel of a model of two classes.

    Args:
        score: float32 [N, 1, h, w]: class 1's probability if the activation is "none", else its logit, the
            other class's being 0 (softmax), or its negative (sigmoid).

    Returns:
        float32 [N, 2, h, w], whose activation gives 1 - p and p.

    Raises:
        NetError: the logits are probabilities.
    """
    if activation != "none" and score.size and score.min() >= 0 and score.max() <= 1:
        raise NetError(
            "the scores of the model's only channel look like probabilities",
            found=f"values from {score.min():g} to {score.max():g}",
            expected="logits of class 1, below 0 where it is not",
            advice="use --activation none",
        )
    other = {"none": 1 - score, "softmax": np.zeros_like(score)}.get(activation, -score)
    return np.concatenate([other, score], axis=1)


class _Average:
    """The mean of overlapping parts of one map."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        self._sum = np.zeros((channels, *size), np.float32)
        self._count = np.zeros(size, np.float32)

    def add(self, view: View, values: np.ndarray) -> None:
        """Adds [C, *view.keep] at the view's place; undoes the mirroring."""
        place = np.s_[view.top : view.top + view.keep[0], view.left : view.left + view.keep[1]]
        self._sum[:, place[0], place[1]] += values[:, :, ::-1] if view.flipped else values
        self._count[place] += 1

    def mean(self) -> np.ndarray:
        """Float32 [C, H, W]."""
        return self._sum / self._count
