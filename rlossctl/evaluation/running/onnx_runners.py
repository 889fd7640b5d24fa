"""Runners for ONNX files: ONNX Runtime behind the interfaces in `runners`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlossctl.data.modelcard import ModelCard
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError
from rlossctl.evaluation.running.answers import MOST_CLASSES
from rlossctl.evaluation.running.sessions import Session


class OnnxRunner:
    """A model that gives class scores or probabilities, float [N, C, h, w]; see `open_model.open_onnx`.

    Its input is a float image [N, 3, H, W]. Files that `rlossctl convert` wrote carry preprocessing and class
    names in their metadata.

    Args:
        path: the file, or a session that `open_onnx` has opened.
        device: as for `open_onnx`.
    """

    def __init__(self, path: str | os.PathLike[str] | Session, device: str = "auto") -> None:
        self._session = path if isinstance(path, Session) else Session(Path(path), device)
        session, card, self.path = self._session.session, self._session.card, self._session.path
        self.untrained: Sequence[str] = card.untrained if card else []
        self._input = _image_input(session, card.input if card else None, self.path)
        self._output = _score_output(session, card.output if card else None, self.path)
        self.backend: str = self._session.backend
        self.preprocess: Preprocess | None = card.preprocess if card else None
        self.classes: list[str] | None = card.classes if card else None
        self.activated: bool = card is not None and card.head in ("softmax", "sigmoid")
        self.losses: Sequence[str] = card.losses if card else []
        channels = _num_classes(card, self._output.shape[1], self.path)
        self.single = card is not None and channels == 1
        self.num_classes = 2 if self.single else channels

    def scores(self, batch: np.ndarray) -> np.ndarray:
        """Float32 [N, 3, H, W] to float32 [N, C, h, w]; class 0 is added to a single score per pixel."""
        scores = self._session.run(self._input, self._output, batch)
        if not self.single:
            return scores
        return np.concatenate((1 - scores if self.activated else np.zeros_like(scores), scores), 1)


class OnnxLabelRunner:
    """A model that gives class ids, [N, h, w], whole numbers; see `open_model.open_onnx`.

    Its input is either photos, uint8 [N, H, W, 3], or a float image [N, 3, H, W]. Photos are red first if the
    metadata says that the model does the preprocessing, else blue first. For a float image, the metadata says
    how to prepare it.
    """

    def __init__(self, model: Session) -> None:
        self._session, card = model, model.card
        self.untrained: Sequence[str] = card.untrained if card else []
        session = model.session
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(outputs) != 1 or len(outputs[0].shape) != 3:
            raise _no_such_blob(model.path, "output", outputs, "one output of class ids [N, H, W]")
        self._output = outputs[0]
        self._preprocess: Preprocess | None = None
        self._red_first = card is not None and card.preprocessing_inside
        self._largest = card.largest_photo if card else None
        if inputs[0].type == "tensor(uint8)":
            if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].shape[3] != 3:
                raise _no_such_blob(model.path, "input", inputs, "one input of photos, uint8 [N, H, W, 3]")
            self._input = inputs[0]
        else:
            self._input = _image_input(session, card.input if card else None, model.path)
            self._preprocess = card.preprocess if card else None
            if self._preprocess is None:
                raise _no_such_blob(
                    model.path, "input", inputs, "photos, or metadata that says how to prepare its input"
                )
        self.backend = model.backend
        self.classes: list[str] | None = card.classes if card else None
        self.losses: Sequence[str] = card.losses if card else []
        self.num_classes = _num_classes(card, None, model.path)

    def labels(self, batch: np.ndarray) -> np.ndarray:
        """Photos uint8 [N, H, W, 3], blue first, to uint8 [N, H, W].

        Raises:
            NetError: a photo is larger than the model takes, ids do not fit, or as for `OnnxRunner.scores`.
        """
        height, width = batch.shape[1:3]
        if self._largest and (height > self._largest[0] or width > self._largest[1]):
            raise NetError(
                "the photo is larger than the model takes",
                where=self._session.path,
                found=f"{width} x {height}",
                expected=f"at most {self._largest[1]} x {self._largest[0]}, the fixed size of the net inside",
                advice="make the photo smaller, or convert the net with a larger input",
            )
        ids = self._session.run(self._input, self._output, self._prepared(batch))
        ids = ids[:, : batch.shape[1], : batch.shape[2]]  # without the padding
        if ids.shape != batch.shape[:3] or (ids.size and not 0 <= ids.min() <= ids.max() < self.num_classes):
            raise NetError(
                "the model's answer is not a map of class ids",
                where=self._session.path,
                found=f"shape {ids.shape}" + (f", ids {ids.min()}..{ids.max()}" if ids.size else ""),
                expected=f"shape {batch.shape[:3]}, ids 0..{self.num_classes - 1}",
                advice="convert the net again (--upsample brings labels to the photo's size)",
            )
        return ids.astype(np.uint8, copy=False)

    def _prepared(self, batch: np.ndarray) -> np.ndarray:
        if self._preprocess is not None:
            return np.stack([self._preprocess.apply(photo)[0] for photo in batch])
        return np.ascontiguousarray(batch[..., ::-1] if self._red_first else batch)


def _image_input(session: Any, name: str | None, path: Path) -> Any:
    inputs = session.get_inputs()
    chosen = [entry for entry in inputs if entry.name == name] or inputs
    image = chosen[0]
    if len(chosen) > 1 or image.type != "tensor(float)" or len(image.shape) != 4 or image.shape[1] != 3:
        raise _no_such_blob(path, "input", inputs, "one float image input [N, 3, H, W]")
    return image


def _score_output(session: Any, name: str | None, path: Path) -> Any:
    outputs = session.get_outputs()
    chosen = [entry for entry in outputs if entry.name == name] or outputs
    if len(chosen) > 1 or chosen[0].type != "tensor(float)" or len(chosen[0].shape) != 4:
        raise _no_such_blob(path, "output", outputs, "one float output of class scores [N, C, h, w]")
    return chosen[0]


def _no_such_blob(path: Path, kind: str, found: list[Any], expected: str) -> NetError:
    return NetError(
        f"a segmentation net does not have such {kind}s",
        where=path,
        found=", ".join(f"{entry.name} {entry.type}{entry.shape}" for entry in found),
        expected=expected,
        advice="if it was a Caffe net, convert that with `rlossctl convert`; else export the model again "
        f"with such an {kind} alone",
    )


def _num_classes(card: ModelCard | None, channels: object, path: Path) -> int:
    count = (card and card.num_classes) or channels
    if not isinstance(count, int) or not 1 <= count <= MOST_CLASSES:
        raise NetError(
            "the number of classes is unknown or impossible",
            where=path,
            found=f"{count} (from rlossctl's metadata, or the output's channels)",
            expected=f"a fixed number of channels, or metadata; 1 to {MOST_CLASSES}",
            advice="export the model with a fixed number of channels",
        )
    return count
