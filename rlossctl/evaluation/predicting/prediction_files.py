"""The work of `rlossctl predict`: photos to label PNGs, overlays and files of probabilities."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rlossctl.counts import VOID
from rlossctl.data.drawing import legend, overlay
from rlossctl.data.images import Photo, read_photo
from rlossctl.data.labelling.exporting import CocoFile, labelme
from rlossctl.data.palette import Palette, save_label_png, voc_palette
from rlossctl.data.sources.readahead import ahead
from rlossctl.errors import DataError, UsageError
from rlossctl.evaluation.predicting.photos import Input, check_outputs
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.rules import Decision
from rlossctl.evaluation.running.decoders import Call, Decoders, Decoding
from rlossctl.evaluation.running.runners import names_for
from rlossctl.files import atomic_path, atomic_write, make_folder
from rlossctl.progress import track
from rlossctl.words import counted

# Where the VOC server looks for results on the test set by models trained on any data.
VOC_FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"
KINDS = ("labels", "overlay", "npz", "png16", "labelme", "coco")
COCO = "predictions.coco.json"


@dataclass(frozen=True)
class Look:
    """How predictions are drawn.

    Attributes:
        palette: the classes' colours; None for VOC's.
        opacity: of the colours over the photo, 0 to 1.
        legend: whether overlays show the names of their classes below.
        names: the classes' names; None for the model's own, else the palette's.
    """

    palette: Palette | None = None
    opacity: float = 0.5
    legend: bool = False
    names: Sequence[str] | None = None

    @property
    def colours(self) -> np.ndarray:
        """uint8 [256, 3] RGB."""
        return voc_palette() if self.palette is None else self.palette.table

    def names_of(self, predictor: Predictor) -> list[str]:
        """The names of a model's classes; raises DataError if `names` has another number of them."""
        names, own = self.names, self.palette.names if self.palette else {}
        if names is None and predictor.runner.classes is None:
            ids = range(predictor.num_classes)
            names = [own[index] for index in ids] if set(ids) <= set(own) else None
        return names_for(predictor.runner, names)

    def overlay(self, photo: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """The photo (uint8 [H, W, 3] BGR) under its labels, RGB; a legend makes it higher."""
        picture = overlay(photo, labels, self.opacity, self.colours)
        if not self.legend:
            return picture
        present = [int(place) for place in np.unique(labels) if place != VOID]
        return np.concatenate([picture, legend(present, names, self.colours, picture.shape[1])])


@dataclass(frozen=True)
class Outputs:
    """Where predictions go, and how they look.

    Attributes:
        folder: the files' folder, or None to write only the archive.
        kinds: the kinds of files, from KINDS: NAME.png (palette, class ids), NAME_overlay.png, NAME.npz
            (`probabilities` float16 [C, H, W], `classes` with their names, and `masks` bool [C, H, W] if the
            rule gives masks), NAME_CLASS.png (one for each class id: 16 bits, 65535 times the probability),
            NAME.json (labelme's polygons), and COCO for all photos (run lengths).
        archive: a .tgz for the VOC evaluation server, or None.
        look: how they are drawn.
    """

    folder: Path | None
    kinds: tuple[str, ...] = ("labels",)
    archive: Path | None = None
    look: Look = field(default_factory=Look)

    def paths(self, name: str, classes: int) -> dict[str, list[Path]]:
        """The files of one photo, by kind."""
        if self.folder is None:
            return {}
        stem = self.folder / name
        all_kinds = {
            "labels": [stem.with_name(f"{stem.name}.png")],
            "overlay": [stem.with_name(f"{stem.name}_overlay.png")],
            "labelme": [stem.with_name(f"{stem.name}.json")],
            "npz": [stem.with_name(f"{stem.name}.npz")],
            "png16": [stem.with_name(f"{stem.name}_{index}.png") for index in range(classes)],
        }
        return {kind: all_kinds[kind] for kind in self.kinds if kind != "coco"}

    @property
    def coco(self) -> Path | None:
        """COCO's file for all photos."""
        return self.folder / COCO if self.folder and "coco" in self.kinds else None


@dataclass
class Summary:
    """How many photos were predicted, and which could not be read and why.

    Attributes:
        turned: how many of them were made upright first.
        rotated: photos that are not upright according to EXIF and were not turned.
    """

    done: int = 0
    turned: int = 0
    rotated: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, DataError]] = field(default_factory=list)


def predict_photos(
    predictor: Predictor,
    inputs: Sequence[Input],
    outputs: Outputs,
    *,
    workers: int = 2,
    decoders: Decoders = "threads",
    upright: bool = True,
    progress: bool = True,
) -> Summary:
    """Predicts every photo. One that cannot be read goes into the summary; the rest are still predicted.

    Args:
        predictor: the model with its protocol and rule.
        inputs: see `find_inputs`.
        outputs: what to write, and where.
        workers: how many threads decode, and how many write.
        decoders: "processes" adds as many processes, which decode; see `decoders.decoding`.
        upright: turn photos as their EXIF orientation says, before they are predicted.

    Raises:
        UsageError: an output would overwrite an input, or the rule or the model does not give an output.
        NetError: the model fails.
        RlossError: a file cannot be written.
    """
    _check(predictor, outputs)
    outputs.look.names_of(predictor)
    files = [outputs.paths(entry.name, predictor.num_classes) for entry in inputs]
    check_outputs(inputs, (path for kinds in files for paths in kinds.values() for path in paths))
    check_outputs(inputs, [path for path in (outputs.archive, outputs.coco) if path])
    summary = Summary()
    decoding = Decoding(workers, decoders)
    names = outputs.look.names_of(predictor)
    with (
        _archive(outputs.archive, summary) as archive,
        _coco(outputs.coco, names) as coco,
        decoding.started() as call,
    ):
        photos = ahead(inputs, functools.partial(_read, call=call, upright=upright), workers)
        answers = _answers(predictor, inputs, photos, files)
        written = ahead(answers, functools.partial(_write, predictor, outputs.look), workers)
        if progress:
            written = track(written, len(inputs), "images")
        for entry, answer in zip(inputs, written, strict=True):
            if isinstance(answer, DataError):
                summary.failed.append((entry.path, answer))
                continue
            if archive:
                _add(archive, Path(entry.name).name, answer.decision.label_map)
            if coco:
                coco.add(answer.decision.label_map, entry.path.name)
            summary.done += 1
            summary.turned += answer.photo.turned
            if answer.photo.rotated:
                summary.rotated.append(entry.path)
    return summary


def format_summary(summary: Summary, outputs: Outputs) -> str:
    """Where the predictions are, how many there are, and which photos could not be read."""
    places = [str(place) for place in (outputs.folder, outputs.archive) if place]
    lines = [f"{counted(summary.done, 'image')} predicted, in {' and '.join(places)}"]
    if summary.turned:
        lines.append(
            f"{counted(summary.turned, 'photo')} turned upright, as EXIF says; --no-upright leaves them"
        )
    if summary.rotated:
        lines.append(
            f"warning: {counted(len(summary.rotated), 'photo')} not turned, although EXIF says so; "
            f"the first is {summary.rotated[0]}"
        )
    if summary.failed:
        lines.append(f"{counted(len(summary.failed), 'image')} could not be read:")
        lines += [f"  {path}: {error.found}" for path, error in summary.failed]
        if outputs.archive:
            lines.append(f"{outputs.archive} was not written: the server wants every image")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Answer:
    """The prediction for a photo, with probabilities if one of `files` needs them."""

    source: Path
    photo: Photo
    decision: Decision
    probabilities: np.ndarray | None
    files: dict[str, list[Path]]


def _read(entry: Input, call: Call, upright: bool) -> Photo | DataError:
    """The photo, or why it cannot be read."""
    try:
        photo: Photo = call(_decode, entry.path, upright)
        return photo
    except DataError as error:
        return error


def _decode(path: Path, upright: bool) -> Photo:
    return read_photo(path, upright=upright)


def _answers(
    predictor: Predictor,
    inputs: Sequence[Input],
    photos: Iterable[Photo | DataError],
    files: Sequence[dict[str, list[Path]]],
) -> Iterator[_Answer | DataError]:
    for entry, photo, paths in zip(inputs, photos, files, strict=True):
        if isinstance(photo, DataError):
            yield photo
        elif "npz" in paths or "png16" in paths:
            yield _Answer(entry.path, photo, *predictor.predict_with_probabilities(photo.pixels), paths)
        else:
            yield _Answer(entry.path, photo, predictor.predict(photo.pixels), None, paths)


def _write(predictor: Predictor, look: Look, answer: _Answer | DataError) -> _Answer | DataError:
    """Writes an answer's files and passes the answer on."""
    if isinstance(answer, DataError):
        return answer
    for paths in answer.files.values():
        make_folder(paths[0].parent)
    names = look.names_of(predictor)
    if answer.decision.labels is not None:
        _write_labels(answer, look, names)
    if answer.probabilities is not None:
        _write_values(answer, answer.probabilities, names)
    return answer


def _write_labels(answer: _Answer, look: Look, names: list[str]) -> None:
    labels, files = answer.decision.label_map, answer.files
    if "labels" in files:
        save_label_png(files["labels"][0], labels, colours=look.colours)
    if "labelme" in files:
        with atomic_write(files["labelme"][0]) as file:
            beside = os.path.relpath(answer.source.absolute(), files["labelme"][0].parent.absolute())
            file.write(labelme(labels, names, Path(beside).as_posix()).encode())
    if "overlay" in files:
        with atomic_write(files["overlay"][0]) as file:
            Image.fromarray(look.overlay(answer.photo.pixels, labels, names)).save(file, format="PNG")


def _write_values(answer: _Answer, values: np.ndarray, names: list[str]) -> None:
    if "npz" in answer.files:
        arrays: dict[str, Any] = {"probabilities": values.astype(np.float16), "classes": np.array(names)}
        if answer.decision.masks is not None:
            arrays["masks"] = answer.decision.masks
        with atomic_path(answer.files["npz"][0]) as path:
            np.savez_compressed(path, **arrays)
    for plane, path in zip(values, answer.files.get("png16", ()), strict=False):
        with atomic_write(path) as file:
            Image.fromarray(np.rint(plane * 65535).astype(np.uint16)).save(file, format="PNG")


def _check(predictor: Predictor, outputs: Outputs) -> None:
    if not outputs.folder and not outputs.archive:
        raise UsageError("nothing would be written", expected="--out DIR or --voc-archive FILE.tgz")
    values = {"npz", "png16"} & set(outputs.kinds)
    if values and predictor.gives_labels:
        raise UsageError(
            "the model gives only labels",
            found=f"--write {', '.join(sorted(values))}",
            expected="a model that gives scores, for probabilities",
            advice="leave out these kinds",
        )
    if predictor.protocol.name == "caffe":
        raise UsageError(
            "Caffe's protocol predicts a crop, not the photo",
            found="--protocol caffe",
            expected="whole or tiles",
            advice="leave the option out; `rlossctl eval` takes it",
        )
    if predictor.rule.drop_ignored:
        raise UsageError("without labels, it is unknown which pixels are ignored", found="--drop-ignored")
    labels = outputs.archive or {"labels", "overlay", "labelme", "coco"} & set(outputs.kinds)
    if predictor.rule.output == "masks" and labels:
        raise UsageError(
            "masks can overlap, so they do not fit one label per pixel",
            found="--masks with labels, overlays, labelme, coco or the archive",
            expected="--write npz with --masks",
            advice="leave out --masks, or write only npz",
        )


class _IncompleteError(Exception):
    """Raised and caught only here, so that an incomplete archive never gets its name."""


@contextlib.contextmanager
def _archive(path: Path | None, summary: Summary) -> Iterator[tarfile.TarFile | None]:
    """The VOC server's archive, which gets its name only once it holds every image."""
    if path is None:
        yield None
        return
    make_folder(path.parent)
    with contextlib.suppress(_IncompleteError), atomic_write(path) as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            yield archive
        if summary.failed:
            raise _IncompleteError


@contextlib.contextmanager
def _coco(path: Path | None, names: Sequence[str]) -> Iterator[CocoFile | None]:
    """COCO's file, which gets its name once all photos are in it."""
    if path is None:
        yield None
        return
    make_folder(path.parent)
    with atomic_write(path) as file:
        coco = CocoFile(file, names)
        yield coco
        coco.close()


def _add(archive: tarfile.TarFile, name: str, labels: np.ndarray) -> None:
    """Adds one image as a palette PNG."""
    image = Image.fromarray(labels)
    image.putpalette(voc_palette().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    member = tarfile.TarInfo(f"{VOC_FOLDER}/{name}.png")
    member.size = buffer.tell()
    buffer.seek(0)
    archive.addfile(member, buffer)
