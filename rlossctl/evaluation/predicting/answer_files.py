"""Writes the prediction for a photo, and the files that hold those of many: an archive, COCO's file."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rlossctl.data.images import Photo
from rlossctl.data.labelling.exporting import CocoFile, labelme
from rlossctl.data.palette import save_label_png, voc_palette
from rlossctl.errors import DataError
from rlossctl.evaluation.predicting.outputs import Look
from rlossctl.evaluation.predicting.photos import Input
from rlossctl.evaluation.predicting.rules import Decision
from rlossctl.files import atomic_path, atomic_write, make_folder

# Where the VOC server looks for results on the test set by models trained on any data.
VOC_FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


@dataclass(frozen=True)
class Answer:
    """The prediction for a photo.

    Attributes:
        probabilities: float32 [C, H, W], if one of the files needs them.
        files: what to write, by kind.
        filmed: whether a film needs a picture of it.
        picture: that picture, uint8 [H, W, 3] RGB, once the files are written.
    """

    entry: Input
    photo: Photo
    decision: Decision
    probabilities: np.ndarray | None
    files: dict[str, list[Path]]
    filmed: bool = False
    picture: np.ndarray | None = None


def write_answer(look: Look, names: Sequence[str], answer: Answer | DataError) -> Answer | DataError:
    """Writes an answer's files, and passes the answer on, with its picture if a film needs it."""
    if isinstance(answer, DataError):
        return answer
    for paths in answer.files.values():
        make_folder(paths[0].parent)
    if answer.decision.labels is not None:
        _write_labels(answer, look, names)
    if answer.probabilities is not None:
        _write_values(answer, answer.probabilities, names)
    if answer.filmed:
        shown = look.overlay(answer.photo.pixels, answer.decision.label_map, names, range(len(names)))
        return replace(answer, picture=shown)
    return answer


def _write_labels(answer: Answer, look: Look, names: Sequence[str]) -> None:
    labels, files = answer.decision.label_map, answer.files
    if "labels" in files:
        save_label_png(files["labels"][0], labels, colours=look.colours)
    if "labelme" in files:
        with atomic_write(files["labelme"][0]) as file:
            file.write(labelme(labels, names, _beside(answer.entry, files["labelme"][0])).encode())
    if "overlay" in files:
        with atomic_write(files["overlay"][0]) as file:
            Image.fromarray(look.overlay(answer.photo.pixels, labels, names)).save(file, format="PNG")


def _beside(entry: Input, output: Path) -> str:
    """The photo's name as seen from an output's folder."""
    if not entry.is_file:
        return entry.where
    return Path(os.path.relpath(entry.path.absolute(), output.parent.absolute())).as_posix()


def _write_values(answer: Answer, values: np.ndarray, names: Sequence[str]) -> None:
    if "npz" in answer.files:
        arrays: dict[str, Any] = {"probabilities": values.astype(np.float16), "classes": np.array(names)}
        if answer.decision.masks is not None:
            arrays["masks"] = answer.decision.masks
        with atomic_path(answer.files["npz"][0]) as path:
            np.savez_compressed(path, **arrays)
    for plane, path in zip(values, answer.files.get("png16", ()), strict=False):
        with atomic_write(path) as file:
            Image.fromarray(np.rint(plane * 65535).astype(np.uint16)).save(file, format="PNG")


class _IncompleteError(Exception):
    """Raised and caught only here, so that an incomplete archive never gets its name."""


@contextlib.contextmanager
def voc_archive(path: Path | None, failed: Sequence[object]) -> Iterator[tarfile.TarFile | None]:
    """The VOC server's archive, which gets its name only if nothing `failed` by the end."""
    if path is None:
        yield None
        return
    make_folder(path.parent)
    with contextlib.suppress(_IncompleteError), atomic_write(path) as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            yield archive
        if failed:
            raise _IncompleteError


@contextlib.contextmanager
def coco_file(path: Path | None, names: Sequence[str]) -> Iterator[CocoFile | None]:
    """COCO's file, which gets its name once all photos are in it."""
    if path is None:
        yield None
        return
    make_folder(path.parent)
    with atomic_write(path) as file:
        coco = CocoFile(file, names)
        yield coco
        coco.close()


def add_to_archive(archive: tarfile.TarFile, name: str, labels: np.ndarray) -> None:
    """Adds one image as a palette PNG."""
    image = Image.fromarray(labels)
    image.putpalette(voc_palette().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    member = tarfile.TarInfo(f"{VOC_FOLDER}/{name}.png")
    member.size = buffer.tell()
    buffer.seek(0)
    archive.addfile(member, buffer)
