"""What a model says of the photos: the least sure first, its prediction, and what the strokes make of it."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Condition, Event, Thread
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from rlossctl.annotating.album import Album, shrunk
from rlossctl.annotating.recent import Recent
from rlossctl.annotating.store import Store
from rlossctl.data.weak.scribble import UNLABELLED
from rlossctl.errors import UsageError
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.protocol import Crf
from rlossctl.files import atomic_write

LARGEST = 512  # pixels of the longer side of what is shown and of what mean field runs on
_KEPT = 6
_RARE = 0.01  # classes that are nowhere more probable are left out of mean field
_WORST = 1 / 16  # the least sure place is a square of this part of the longer side
_BETWEEN = 20  # photos looked at between two notes on disk


class Model(NamedTuple):
    """A model with its mean field: the fingerprint of its files, and the colours of its classes."""

    predictor: Predictor
    fingerprint: str
    colours: np.ndarray
    crf: Crf


class Look(NamedTuple):
    """A model's view of a photo, at most LARGEST pixels wide and high.

    Attributes:
        probabilities: float32 [C, h, w].
        doubt: float32 [h, w], the entropy as a share of its greatest value.
    """

    probabilities: np.ndarray
    doubt: np.ndarray


class Advisor:
    """Looks at all photos in a thread of its own; a request from a page goes before the next of these.

    Doubts are kept in the file `notes`, so that no photo is looked at twice by the same model.

    Attributes:
        failed: what went wrong in that thread, or None.

    Raises:
        UsageError: the model has another number of classes, or gives no probabilities.
    """

    def __init__(self, model: Model, album: Album, store: Store, notes: Path) -> None:
        _check(model.predictor, len(store.classes))
        self.model, self.album, self.store = model, album, store
        self.failed: str | None = None
        self._notes = notes
        self._doubts = self._noted()
        self._looks: Recent[Look] = Recent(_KEPT)
        self._free = Condition()
        self._busy, self._waiting = False, 0
        self._end = Event()
        self._thread = Thread(target=self._survey, name="advisor", daemon=True)

    def start(self) -> None:
        """Starts to look at the photos."""
        self._thread.start()

    def close(self) -> None:
        """Ends after the photo that is looked at now, and notes the doubts."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def doubts(self) -> dict[str, float]:
        """Photo -> its mean doubt, 0..1, as far as they are known."""
        return dict(self._doubts)

    def prediction(self, name: str) -> bytes:
        """A palette PNG of the most probable classes."""
        return self._coloured(self._look(name).probabilities.argmax(0))

    def doubt(self, name: str) -> bytes:
        """A PNG whose opacity is the doubt."""
        alpha = np.rint(255 * self._look(name).doubt).astype(np.uint8)
        colour = np.broadcast_to(np.array([255, 96, 0], np.uint8), (*alpha.shape, 3))
        return _png(Image.fromarray(np.dstack([colour, alpha])))

    def least_sure(self, name: str) -> tuple[float, float]:
        """(x, y) in pixels of the photo: the middle of the place that the model is least sure of.

        Places that have a label already do not count.
        """
        doubt = self._look(name).doubt.copy()
        doubt[_reduced(self.store.label(name), doubt.shape) != UNLABELLED] = 0
        side = max(1, round(_WORST * max(doubt.shape)))
        around = cv2.blur(doubt, (side, side), borderType=cv2.BORDER_CONSTANT)
        y, x = np.unravel_index(int(around.argmax()), doubt.shape)
        height, width = self.album.entries[name].size
        return (float(x) + 0.5) * width / doubt.shape[1], (float(y) + 0.5) * height / doubt.shape[0]

    def preview(self, name: str) -> bytes:
        """A palette PNG: mean field over the model's scores, with the strokes on disk held fixed."""
        from rlossctl.evaluation.predicting.crf import refine

        probabilities = self._look(name).probabilities
        label = _reduced(self.store.label(name), probabilities.shape[1:])
        colours = cv2.resize(self.album.pixels(name), label.shape[::-1], interpolation=cv2.INTER_AREA).astype(
            np.float32
        )
        fixed = label != UNLABELLED
        used = np.flatnonzero(probabilities.max(axis=(1, 2)) > _RARE)
        used = np.union1d(used, label[fixed]).astype(int)
        held = probabilities[used].copy()
        held[:, fixed] = used[:, None] == label[fixed]
        with self._turn(urgent=True):
            refined = refine(held, colours, self.model.crf)
        return self._coloured(used[refined.argmax(0)])

    def _look(self, name: str, urgent: bool = True) -> Look:
        def make() -> Look:
            with self._turn(urgent):
                found = self.model.predictor.probabilities(self.album.pixels(name))
            # Channels go one by one: OpenCV resizes four at most.
            probabilities = np.stack([shrunk(np.ascontiguousarray(one), LARGEST) for one in found])
            return Look(probabilities, _doubt(probabilities))

        return self._looks.get(name, make)

    @contextlib.contextmanager
    def _turn(self, urgent: bool) -> Iterator[None]:
        """The model, for one thread at a time; those that a person waits for go first."""
        with self._free:
            self._waiting += urgent
            self._free.wait_for(lambda: not self._busy and (urgent or not self._waiting))
            self._waiting -= urgent
            self._busy = True
        try:
            yield
        finally:
            with self._free:
                self._busy = False
                self._free.notify_all()

    def _survey(self) -> None:
        try:
            for name in self.album.entries:
                if self._end.is_set():
                    break
                if name not in self._doubts:
                    self._doubts[name] = float(self._look(name, urgent=False).doubt.mean())
                    if len(self._doubts) % _BETWEEN == 0:
                        self._note()
            self._note()
        except Exception as error:  # the page says it; the thread has nobody else to tell
            self.failed = str(error)

    def _note(self) -> None:
        content = {"model": self.model.fingerprint, "doubts": self._doubts}
        with atomic_write(self._notes) as file:
            file.write(json.dumps(content).encode())

    def _noted(self) -> dict[str, float]:
        try:
            content = json.loads(self._notes.read_bytes())
            found = content["doubts"] if content["model"] == self.model.fingerprint else {}
            return {name: float(found[name]) for name in self.album.entries if name in found}
        except (OSError, ValueError, KeyError, TypeError):  # they can be found again
            return {}

    def _coloured(self, ids: np.ndarray) -> bytes:
        image = Image.fromarray(ids.astype(np.uint8))
        image.putpalette(self.model.colours.tobytes())
        return _png(image)


def _check(predictor: Predictor, classes: int) -> None:
    if predictor.gives_labels:
        raise UsageError(
            "the model gives only labels",
            where="--model",
            expected="a model that gives scores",
            advice="name an output with scores, or leave --model out",
        )
    if predictor.num_classes != classes:
        raise UsageError(
            "the model has other classes",
            where="--model",
            found=f"{predictor.num_classes} classes",
            expected=f"{classes}, as --classes names",
            advice="give the classes that the model was trained with",
        )


def _doubt(probabilities: np.ndarray) -> np.ndarray:
    """The entropy of [C, h, w] over the classes, divided by its greatest value."""
    terms = probabilities * np.log(np.maximum(probabilities, 1e-12))
    doubt: np.ndarray = (-terms.sum(0) / np.log(max(len(probabilities), 2))).clip(0, 1).astype(np.float32)
    return doubt


def _reduced(label: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The label at (height, width) `size`, uint8; every labelled pixel of the larger one still counts."""
    y, x = np.nonzero(label != UNLABELLED)
    found = np.full(size, UNLABELLED, np.uint8)
    found[y * size[0] // label.shape[0], x * size[1] // label.shape[1]] = label[y, x]
    return found


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
