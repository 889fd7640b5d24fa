"""The work of `rlossctl predict`: photos and videos to label PNGs, overlays and files of probabilities."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path

from rlossctl.data.images import Photo
from rlossctl.data.labelling.exporting import CocoFile
from rlossctl.data.sources.readahead import ahead
from rlossctl.errors import DataError, UsageError
from rlossctl.evaluation.predicting.answer_files import (
    Answer,
    add_to_archive,
    coco_file,
    voc_archive,
    write_answer,
)
from rlossctl.evaluation.predicting.outputs import Outputs
from rlossctl.evaluation.predicting.photos import Input, check_outputs
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.videos import ALL, Films, Frames, Video, check_videos, films
from rlossctl.evaluation.running.decoders import Call, Decoders, Decoding
from rlossctl.progress import track
from rlossctl.words import counted


@dataclass(frozen=True)
class Sources:
    """What is predicted.

    Attributes:
        photos: see `find_inputs`.
        videos: predicted after the photos; see `split_videos`.
        frames: which frames of them.
        upright: turn photos and videos as they say, before they are predicted.
    """

    photos: Sequence[Input]
    videos: Sequence[Video] = ()
    frames: Frames = ALL
    upright: bool = True

    @cached_property
    def digest(self) -> str:
        """A hash of the photos' places and their outputs' names, not of the files."""
        lines = "\n".join(f"{entry.where}\t{entry.name}" for entry in self.photos)
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass
class Summary:
    """How many photos were predicted, and which could not be read and why.

    Attributes:
        turned: how many of them were made upright first.
        rotated: photos that are not upright according to EXIF and were not turned.
    """

    done: int = 0
    turned: int = 0
    rotated: list[str] = field(default_factory=list)
    failed: list[tuple[str, DataError]] = field(default_factory=list)


def predict_photos(
    predictor: Predictor,
    sources: Sources,
    outputs: Outputs,
    *,
    workers: int = 2,
    decoders: Decoders = "threads",
    progress: bool = True,
) -> Summary:
    """Predicts every photo. One that cannot be read goes into the summary; the rest are still predicted.

    Args:
        predictor: the model with its protocol and rule.
        outputs: what to write, and where.
        workers: how many threads decode, and how many write.
        decoders: "processes" adds as many processes, which decode; see `decoders.decoding`.

    Raises:
        UsageError: an output would overwrite an input, or the rule or the model does not give an output.
        DataError: a video cannot be read.
        NetError: the model fails.
        RlossError: a file cannot be written.
    """
    check(predictor, outputs, sources)
    names = outputs.look.names_of(predictor)
    summary = Summary()
    with contextlib.ExitStack() as stack:
        into = _Shared(
            stack.enter_context(voc_archive(outputs.archive, summary.failed)),
            stack.enter_context(coco_file(outputs.coco, names)),
            stack.enter_context(films(sources.videos, outputs.film, sources.frames)),
        )
        call = stack.enter_context(Decoding(workers, decoders).started())
        answers = _answers(predictor, _photos(sources, call, workers), outputs, into.films)
        written = ahead(answers, functools.partial(_write, outputs, names), workers)
        total = None if sources.videos else len(sources.photos)
        for entry, answer in track(written, total, "images") if progress else written:
            _count(summary, entry, answer)
            if isinstance(answer, Answer):
                into.add(entry, answer)
    return summary


@dataclass(frozen=True)
class _Shared:
    """The open files that get a part of every answer."""

    archive: tarfile.TarFile | None
    coco: CocoFile | None
    films: Films

    def add(self, entry: Input, answer: Answer) -> None:
        labels = answer.decision
        if self.archive:
            add_to_archive(self.archive, Path(entry.name).name, labels.label_map)
        if self.coco:
            self.coco.add(labels.label_map, entry.path.name if entry.is_file else str(entry.path))
        if answer.picture is not None:
            self.films.add(entry, answer.picture)


def _count(summary: Summary, entry: Input, answer: Answer | DataError) -> None:
    if isinstance(answer, DataError):
        summary.failed.append((entry.where, answer))
        return
    summary.done += 1
    summary.turned += answer.photo.turned
    if answer.photo.rotated:
        summary.rotated.append(entry.where)


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


Read = tuple[Input, "Photo | DataError"]


def _photos(sources: Sources, call: Call, workers: int) -> Iterator[Read]:
    """Every photo, read ahead, or why it cannot be read; then the frames of the videos."""
    photos = ahead(sources.photos, functools.partial(_read, call=call, upright=sources.upright), workers)
    frames = (video.read(sources.frames, sources.upright) for video in sources.videos)
    return chain(zip(sources.photos, photos, strict=True), chain.from_iterable(frames))


def _read(entry: Input, call: Call, upright: bool) -> Photo | DataError:
    try:
        photo: Photo = call(Input.read, entry, upright)
        return photo
    except DataError as error:
        return error


def _answers(
    predictor: Predictor, photos: Iterable[Read], outputs: Outputs, films: Films
) -> Iterator[tuple[Input, Answer | DataError]]:
    for entry, photo in photos:
        if isinstance(photo, DataError):
            yield entry, photo
            continue
        paths = outputs.paths(entry.name, predictor.num_classes)
        both = "npz" in paths or "png16" in paths
        decision, probabilities = (
            predictor.predict_with_probabilities(photo.pixels)
            if both
            else (predictor.predict(photo.pixels), None)
        )
        yield entry, Answer(entry, photo, decision, probabilities, paths, films.takes(entry))


def _write(
    outputs: Outputs, names: Sequence[str], job: tuple[Input, Answer | DataError]
) -> tuple[Input, Answer | DataError]:
    entry, answer = job
    return entry, write_answer(outputs.look, names, answer)


def check(predictor: Predictor, outputs: Outputs, sources: Sources) -> None:
    """Raises UsageError if an output would overwrite an input, or cannot be given."""
    _check_kinds(predictor, outputs)
    if outputs.film_folder and not sources.videos:
        raise UsageError(
            "a film is made from a video",
            found="--write video",
            expected="a video file, or camera:N",
            advice="leave video out of --write",
        )
    if outputs.archive and sources.videos:
        raise UsageError("the VOC server takes photos", found=sources.videos[0].where)
    files = [outputs.paths(entry.name, predictor.num_classes) for entry in sources.photos]
    alone = [path for path in (outputs.archive, outputs.coco) if path]
    alone += [film for video in sources.videos if (film := outputs.film(video.name))]
    each = (path for kinds in files for paths in kinds.values() for path in paths)
    check_outputs(sources.photos, chain(each, alone))
    check_videos(sources.videos, sources.photos, outputs.folder or Path(), sources.frames)


def _check_kinds(predictor: Predictor, outputs: Outputs) -> None:
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
        raise UsageError(
            "without labels, it is unknown which pixels are ignored",
            found="--drop-ignored",
            advice="leave the option out; `rlossctl eval` takes it",
        )
    labels = outputs.archive or {"labels", "overlay", "labelme", "coco", "video"} & set(outputs.kinds)
    if predictor.rule.output == "masks" and labels:
        raise UsageError(
            "masks can overlap, so they do not fit one label per pixel",
            found="--masks with labels, overlays, labelme, coco, video or the archive",
            expected="--write npz with --masks",
            advice="leave out --masks, or write only npz",
        )
