"""Runners for ONNX files: ONNX Runtime behind the interfaces in `runners`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rlossctl.data.modelcard import ModelCard
from rlossctl.data.palette import Palette, listed_palette
from rlossctl.data.preprocess import Preprocess
from rlossctl.data.resize import resize_nearest_centre
from rlossctl.errors import NetError
from rlossctl.evaluation.running.answers import MOST_CLASSES
from rlossctl.evaluation.running.named import Reading
from rlossctl.evaluation.running.sessions import Session
from rlossctl.evaluation.running.wiring import Wiring, wire


class OnnxRunner:
    """A model that gives class scores or probabilities; see `open_model.open_onnx`.

    Files that `rlossctl convert` wrote carry preprocessing and class names in their metadata. Of other files,
    the graph and a trial tell axes, types, and whether the scores are probabilities.

    Args:
        path: the file, or a session that `open_onnx` has opened.
        device: as for `open_onnx`.
        wiring: what `wire` found, if it was called already.
    """

    def __init__(
        self, path: str | os.PathLike[str] | Session, device: str = "auto", wiring: Wiring | None = None
    ) -> None:
        self._session = path if isinstance(path, Session) else Session(Path(path), device)
        card, self.path = self._session.card, self._session.path
        self._wiring = wiring or wire(self._session, Reading())
        self.intake = self._wiring.intake(self._session)
        self.untrained: Sequence[str] = card.untrained if card else []
        self.backend: str = self._session.backend
        self.preprocess: Preprocess | None = card.preprocess if card else None
        self.classes: list[str] | None = card.classes if card else None
        self.palette = _palette(card)
        self.activated: bool = (
            card.head in ("softmax", "sigmoid") if card else self._wiring.ending.kind == "probabilities"
        )
        self.losses: Sequence[str] = card.losses if card else []
        self.channels = _count(card, self._wiring.channels, self.path)
        self.num_classes = max(2, self.channels)

    def scores(self, batch: np.ndarray) -> np.ndarray:
        """Float32 [N, 3, H, W] to float32 [N, channels, h, w]."""
        return run_wired(self._session, self._wiring, batch)


class OnnxLabelRunner:
    """A model that gives class ids; see `open_model.open_onnx`.

    Its metadata may say that it prepares photos itself: then it takes them as they are, uint8 [N, H, W, 3],
    red first if preprocessing is inside, else blue first. Any other model takes prepared images.
    """

    def __init__(self, model: Session, wiring: Wiring, reading: Reading) -> None:
        self._session, self._wiring, card = model, wiring, model.card
        self.intake = wiring.intake(model)
        self.untrained: Sequence[str] = card.untrained if card else []
        self.takes_photos = card is not None and wiring.image.raw
        self.preprocess: Preprocess | None = None if card is None or self.takes_photos else card.preprocess
        self._red_first = card is not None and card.preprocessing_inside
        self._largest = card.largest_photo if card else None
        self.backend = model.backend
        self.classes: list[str] | None = card.classes if card else None
        self.palette = _palette(card)
        self.losses: Sequence[str] = card.losses if card else []
        self.num_classes = _count(card, reading.num_classes or wiring.ending.classes, model.path)

    def labels(self, batch: np.ndarray) -> np.ndarray:
        """Class ids uint8 [N, H, W] of photos, uint8 [N, H, W, 3] BGR, or of prepared images [N, C, H, W].

        Raises:
            NetError: a photo is larger than the model takes, ids do not fit, or as for `OnnxRunner.scores`.
        """
        if self.takes_photos:
            self._check_photo(*batch.shape[1:3])
            batch = (batch[..., ::-1] if self._red_first else batch).transpose(0, 3, 1, 2)
        ids = run_wired(self._session, self._wiring, batch)
        expected = (len(batch), *batch.shape[2:])
        if self._session.card is None and ids.ndim == 3 and ids.shape[1:] != expected[1:]:
            ids = np.stack([resize_nearest_centre(one, *expected[1:]) for one in ids])
        if ids.shape != expected or (ids.size and not 0 <= ids.min() <= ids.max() < self.num_classes):
            raise NetError(
                "the model's answer is not a map of class ids",
                where=self._session.path,
                found=f"shape {ids.shape}" + (f", ids {ids.min()}..{ids.max()}" if ids.size else ""),
                expected=f"shape {expected}, ids 0..{self.num_classes - 1}",
                advice="give the number of classes with --num-classes N; convert a net again with "
                "--upsample, which brings labels to the photo's size",
            )
        return ids.astype(np.uint8, copy=False)

    def _check_photo(self, height: int, width: int) -> None:
        if self._largest and (height > self._largest[0] or width > self._largest[1]):
            raise NetError(
                "the photo is larger than the model takes",
                where=self._session.path,
                found=f"{width} x {height}",
                expected=f"at most {self._largest[1]} x {self._largest[0]}, the fixed size of the net inside",
                advice="make the photo smaller, or convert the net with a larger input",
            )


def run_wired(model: Session, wiring: Wiring, batch: np.ndarray) -> np.ndarray:
    """The answer for prepared images [N, C, H, W], in as many runs as the input's own batch needs."""
    image, answer = wiring.image, wiring.answer
    size = image.at_once or len(batch)
    parts = []
    for start in range(0, len(batch), size):
        part = batch[start : start + size]
        missing = size - len(part)
        full = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
        parts.append(answer.read(model.run(image, answer.name, full))[: len(part)])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _palette(card: ModelCard | None) -> Palette | None:
    return listed_palette(card.palette, card.classes or ()) if card and card.palette else None


def _count(card: ModelCard | None, channels: object, path: Path) -> int:
    count = (card and card.num_classes) or channels
    if not isinstance(count, int) or not 1 <= count <= MOST_CLASSES:
        raise NetError(
            "the number of classes is unknown or impossible",
            where=path,
            found=f"{count} (from rlossctl's metadata, the output's channels or the graph)",
            expected=f"1 to {MOST_CLASSES}",
            advice="scores need a fixed number of channels; for class ids, give it with --num-classes N",
        )
    return count
