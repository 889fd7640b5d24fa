"""From a photo to class probabilities and a prediction: a runner under a protocol, then a rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from rlossctl.data.preprocess import Preprocess
from rlossctl.data.resize import resize_bilinear
from rlossctl.data.sources.seg_transform import SegTransform
from rlossctl.errors import NetError, UsageError
from rlossctl.evaluation.predicting.protocol import Protocol, tile_starts
from rlossctl.evaluation.predicting.rules import VOID, Decision, Rule, best_class, decide, not_numbers
from rlossctl.evaluation.predicting.upsample import upsample
from rlossctl.evaluation.running.runners import LabelRunner, Runner, check_scores

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class View:
    """One input of the model: a whole photo, or a tile of it, at one scale, mirrored or not.

    Attributes:
        pixels: float32 [3, h, w], preprocessed and padded at the bottom and the right; for models that take
            photos themselves uint8 [h, w, 3].
        keep: (height, width) of the part that is photo.
        scaled: (height, width) of the resized photo that the view is a part of.
        top, left: where the view lies in it.
        flipped: whether the view is mirrored left-right.
    """

    pixels: np.ndarray
    keep: tuple[int, int]
    scaled: tuple[int, int]
    top: int = 0
    left: int = 0
    flipped: bool = False


@dataclass
class Predictor:
    """A model with all that decides what it predicts.

    `prepare` runs in any thread; `run` calls the model; `finish` needs neither. `probabilities` and `predict`
    do all three for one photo.

    Attributes:
        runner: the model.
        preprocess: replaces the runner's own.
        protocol: how photos are presented, and how scores become probabilities; its activation is never
            "auto" where the model gives scores.
        rule: how probabilities become a prediction.

    Raises:
        NetError: no preprocessing is known.
        UsageError: the model gives labels only, and protocol or rule need probabilities; tiles or Caffe's
            protocol without a size.
    """

    runner: Runner | LabelRunner
    preprocess: Preprocess | None = None
    protocol: Protocol = field(default_factory=Protocol)
    rule: Rule = field(default_factory=Rule)

    def __post_init__(self) -> None:
        if self.gives_labels:
            self._refuse_more_than_labels()
            return
        self.preprocess = self.preprocess or self.runner.preprocess
        if self.preprocess is None:
            raise NetError(
                "the model does not say how its images are prepared",
                expected="a data layer in the prototxt, or rlossctl's metadata in the ONNX file",
                advice="name the mean: --mean B,G,R (--scale, --rgb, --crop where they are not Caffe's)",
            )
        if self.protocol.activation == "auto":
            chosen = "none" if self.runner.activated else "softmax"
            self.protocol = replace(self.protocol, activation=chosen)
        self._tile = self.protocol.tile or self.preprocess.crop
        needed = self._tile if self.protocol.name == "tiles" else self.preprocess.crop
        if self.protocol.name != "whole" and needed is None:
            raise UsageError(
                f"the protocol {self.protocol.name} needs a size",
                found="a model without a crop",
                expected="--tile H,W for tiles, --crop H,W for Caffe's protocol",
                advice="name the size that the net was trained with",
            )

    @property
    def gives_labels(self) -> bool:
        """Whether the model answers with label maps in place of scores."""
        return isinstance(self.runner, LabelRunner)

    @property
    def _scores_decide(self) -> bool:
        """Whether no probabilities are needed: the activation keeps the order of one view's scores."""
        return self.rule.name == "argmax" and self.protocol.single

    @property
    def on_device(self) -> torch.device | None:
        """Where the runner itself takes the best class (`OnDevice`), or None: it gives scores or labels."""
        return getattr(self.runner, "device", None) if self._scores_decide else None

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
        if self.gives_labels:
            raise self._labels_only("probabilities")
        views = self.prepare(photo)
        return self._probabilities(photo, views, self.run(views, scores=True))

    def predict(self, photo: np.ndarray, valid: np.ndarray | None = None) -> Decision:
        """The prediction for one photo (uint8 [H, W, 3] BGR): labels or masks of its size.

        `valid` is bool [H, W]: pixels that the rank rules may use.
        """
        views = self.prepare(photo)
        return self.finish(photo, views, self.run(views), valid)

    def predict_with_probabilities(self, photo: np.ndarray) -> tuple[Decision, np.ndarray]:
        """What `predict` and `probabilities` give of a photo, from one pass; raises as they do."""
        if self.gives_labels:
            raise self._labels_only("probabilities")
        views = self.prepare(photo)
        if not self._scores_decide:
            probabilities = self._probabilities(photo, views, self.run(views, scores=True))
            return decide(probabilities, self.rule), probabilities
        (view,) = views
        if self.on_device:
            scores, answers = self.runner.scores_and_classes([view.pixels])
        else:
            scores = answers = list(self.run(views, scores=True))
        return self.finish(photo, views, answers), self._probabilities(photo, views, scores)

    def prepare(self, photo: np.ndarray) -> list[View]:
        """Every input that the protocol makes of a photo."""
        size = photo.shape[:2]
        if self.gives_labels:
            return [View(photo, size, size)]
        if self.protocol.name == "caffe":
            pixels, _ = self.preprocess.apply_caffe(photo)
            return [View(pixels, pixels.shape[1:], pixels.shape[1:])]
        return [view for scale in self.protocol.scales for view in self._views(photo, scale)]

    def shown(self, photo: np.ndarray, label: np.ndarray, ignore: int) -> tuple[np.ndarray, np.ndarray]:
        """Photo and label at the size of the prediction: themselves, or padded and cut as Caffe does.

        Args:
            photo: uint8 [H, W, 3].
            label: uint8 [H, W].
            ignore: what padding is labelled with.
        """
        if self.protocol.name != "caffe":
            return photo, label
        transform = SegTransform("TEST", crop=self.preprocess.crop, ignore_label=ignore)
        pixels, cut = transform(photo, label, np.random.default_rng(0))
        return pixels.transpose(1, 2, 0).astype(np.uint8), cut[0].astype(np.uint8)

    def run(self, views: Sequence[View], scores: bool = False) -> Iterator[np.ndarray]:
        """The model's answers in the views' order: scores [C, h, w], or class ids uint8 [H, W].

        Neighbours of one size go through the model together, `protocol.batch` at a time. `scores` asks for
        scores even where the prediction could do with class ids. Class ids stay on the device, if any.
        """
        for batch in _batches(views, self.protocol.batch):
            if self.on_device and not scores:
                yield from self.runner.best_classes([view.pixels for view in batch])
                continue
            inputs = np.stack([view.pixels for view in batch]) if len(batch) > 1 else batch[0].pixels[None]
            if self.gives_labels:
                yield from self.runner.labels(inputs)
            else:
                yield from self._checked(self.runner.scores(inputs), len(batch))

    def finish(
        self,
        photo: np.ndarray,
        views: Sequence[View],
        answers: Iterator[np.ndarray] | Sequence[np.ndarray],
        valid: np.ndarray | None = None,
    ) -> Decision:
        """The prediction from the model's answers to `views`, those that `prepare` gave for `photo`."""
        if self.gives_labels:
            (labels,) = answers
            return Decision(labels=labels)
        if self.on_device:
            (answer,) = answers
            labels = answer[: views[0].keep[0], : views[0].keep[1]].cpu().numpy()
            if (labels == VOID).any():
                raise not_numbers()
            return Decision(labels=labels)
        if self._scores_decide:
            (scores,) = answers
            # Plane by plane: enlarged scores of all classes together would leave the cache.
            return Decision(labels=best_class(_at(plane[None], views[0])[0] for plane in scores))
        return decide(self._probabilities(photo, views, answers), self.rule, valid)

    def _views(self, photo: np.ndarray, scale: float) -> Iterator[View]:
        size = photo.shape[:2]
        scaled = tuple(max(1, round(side * scale)) for side in size)
        resized = photo if scaled == size else resize_bilinear(photo, *scaled)
        height, width = self._tile if self.protocol.name == "tiles" else scaled
        prepare = self._tile_preprocess() if self.protocol.name == "tiles" else self.preprocess
        for top in tile_starts(scaled[0], height, self.protocol.overlap):
            for left in tile_starts(scaled[1], width, self.protocol.overlap):
                part = resized[top : top + height, left : left + width]
                for flipped in (False, True) if self.protocol.flip else (False,):
                    pixels, keep = prepare.apply(part[:, ::-1] if flipped else part)
                    yield View(pixels, keep, scaled, top, left, flipped)

    def _tile_preprocess(self) -> Preprocess:
        return replace(self.preprocess, crop=self._tile)

    def _probabilities(
        self, photo: np.ndarray, views: Sequence[View], answers: Iterator[np.ndarray] | Sequence[np.ndarray]
    ) -> np.ndarray:
        averages: dict[tuple[int, int], _Average] = {}
        for view, scores in zip(views, answers, strict=True):
            if view.scaled not in averages:
                averages[view.scaled] = _Average(self.num_classes, view.scaled)
            averages[view.scaled].add(view, self._activate(_at(scores, view)))
        size = photo.shape[:2] if self.protocol.name != "caffe" else views[0].scaled
        parts = [upsample(part.mean()[None], size, corners=False)[0] for part in averages.values()]
        mean = parts[0] if len(parts) == 1 else sum(parts) / np.float32(len(parts))
        return mean if self.protocol.crf is None else self._refine(mean, photo)

    def _activate(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities of scores [C, h, w]."""
        kind, temperature = self.protocol.activation, np.float32(self.protocol.temperature)
        if kind == "none":
            return scores
        if kind == "sigmoid":
            return 1 / (1 + np.exp(-np.clip(scores / temperature, -80, 80)))
        if scores.min() >= 0 and np.abs(scores.sum(axis=0) - 1).max() < 1e-3:
            raise NetError(
                "the model's scores are probabilities already",
                found="values of at least 0 that sum to 1 in every pixel",
                expected="scores, which a softmax makes probabilities of",
                advice="use --activation none",
            )
        powers = np.exp((scores - scores.max(axis=0)) / temperature)
        powers /= powers.sum(axis=0)
        return powers

    def _refine(self, probabilities: np.ndarray, photo: np.ndarray) -> np.ndarray:
        """The dense CRF's probabilities; colours are mean-subtracted, as the layer gets them."""
        from rlossctl.evaluation.predicting.crf import refine

        colours = photo.astype(np.float32) - np.asarray(self.preprocess.mean_bgr, np.float32)
        return refine(probabilities, colours, self.protocol.crf)

    def _checked(self, scores: np.ndarray, count: int) -> np.ndarray:
        check_scores(scores.shape, count, self.num_classes)
        if not self._scores_decide and np.isnan(scores.max()):  # else `best_class` looks for it
            raise not_numbers()
        return scores

    def _refuse_more_than_labels(self) -> None:
        if self.rule != Rule(unassigned=self.rule.unassigned):
            raise self._labels_only(f"the rule {self.rule.name}")
        if self.protocol != Protocol(batch=self.protocol.batch):
            raise self._labels_only("this protocol")
        if self.preprocess is not None:
            raise UsageError(
                "the model prepares images itself",
                expected="no --mean, --scale, --rgb or --crop",
                advice="leave them out",
            )

    def _labels_only(self, what: str) -> UsageError:
        return UsageError(
            f"{what} needs class scores, and the model gives labels only",
            found=self.runner.backend,
            expected="a model whose output is scores, for anything but argmax of whole photos",
            advice="convert the net without its preprocessing and argmax inside",
        )


class _Average:
    """The mean of overlapping parts of one map."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        self._sum = np.zeros((channels, *size), np.float32)
        self._count = np.zeros(size, np.float32)

    def add(self, view: View, values: np.ndarray) -> None:
        """Adds [C, *view.keep] at the view's place, mirrored back."""
        place = np.s_[view.top : view.top + view.keep[0], view.left : view.left + view.keep[1]]
        self._sum[:, place[0], place[1]] += values[:, :, ::-1] if view.flipped else values
        self._count[place] += 1

    def mean(self) -> np.ndarray:
        """Float32 [C, H, W]."""
        return self._sum / self._count


def _at(scores: np.ndarray, view: View) -> np.ndarray:
    """Scores at the view's own pixels, without its padding."""
    return upsample(scores[None], view.pixels.shape[1:], keep=view.keep)[0]


def _batches(views: Sequence[View], size: int) -> Iterator[list[View]]:
    """Runs of neighbours whose pixels have one shape, at most `size` long."""
    batch: list[View] = []
    for view in views:
        if batch and (len(batch) == size or view.pixels.shape != batch[0].pixels.shape):
            yield batch
            batch = []
        batch.append(view)
    if batch:
        yield batch
