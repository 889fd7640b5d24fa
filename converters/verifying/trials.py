"""Runs two models on the same images and compares every blob that both have, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from rlossctl.converters.verifying.blob_streams import BlobModel, Shape
from rlossctl.converters.verifying.comparison import Comparison, compare
from rlossctl.converters.verifying.index_blobs import Blob
from rlossctl.data.images import read_image
from rlossctl.data.lists import Sample, find_label_dir, read_list
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError, UsageError

DEVIATION = 60  # standard deviation of random pixels: about the magnitude of photos without their mean


@dataclass(frozen=True)
class Trial:
    """A batch to run both models on.

    Attributes:
        name: its name in messages.
        image: float32 [N, C, H, W].
        optional: whether models may refuse its size; the trial is then skipped.
    """

    name: str
    image: np.ndarray
    optional: bool = False


def random_trials(shape: Shape, preprocess: Preprocess | None) -> Iterator[Trial]:
    """Random images, the same each time: batches of 1 and 2, all sizes but one by the net's size rule."""
    generator = np.random.default_rng(0)
    fixed = None in shape[2:]
    sizes = list(trial_sizes(preprocess)) if fixed or len(shape) < 4 else [tuple(shape[2:])]
    for number, size in enumerate(sizes):
        batch = shape[0] or 1 + number % 2
        full = (batch, shape[1] or 3, *(length or 1 for length in size))[: len(shape)]
        image = (generator.standard_normal(full) * DEVIATION).astype(np.float32)
        yield Trial("random " + "x".join(map(str, full)), image, optional=number > 0)


def trial_sizes(preprocess: Preprocess | None) -> Iterator[tuple[int, int]]:
    """Small heights and widths that the net's size rule allows, and one pair that it does not."""
    stride, offset = (preprocess.stride, preprocess.offset) if preprocess else (1, 0)
    for rows, columns in ((64, 64), (96, 72), (72, 128)):
        yield rows // stride * stride + offset, columns // stride * stride + offset
    yield 75, 90


def export_sizes(preprocess: Preprocess | None) -> list[tuple[int, int]]:
    """Two heights and widths that the net's size rule allows, all of them different."""
    stride, offset = (preprocess.stride, preprocess.offset) if preprocess else (1, 0)
    pairs = ((64, 128), (192, 320))
    return [(rows // stride * stride + offset, width // stride * stride + offset) for rows, width in pairs]


def photo_trials(list_file: str, root: str, preprocess: Preprocess | None, shape: Shape) -> Iterator[Trial]:
    """The photos of a list, prepared for the net, one at a time.

    Args:
        shape: the net's input shape (N, C, H, W), None for sizes that may vary.

    Raises:
        UsageError: it is unknown how to prepare photos, or a photo is larger than the net takes.
        DataError: the list or a photo cannot be read.
    """
    if preprocess is None:
        raise UsageError(
            "it is unknown how photos become the net's input",
            where=list_file,
            expected="a data layer that reads photos, or the mean",
            advice="add --mean B,G,R (and --scale, --rgb, --crop if they differ from Caffe's)",
        )
    for sample in read_photos(list_file, root):
        photo = read_image(sample.image, listed=f"{list_file}:{sample.line}")
        pixels, _ = preprocess.apply(photo)
        if any(limit and side != limit for side, limit in zip(pixels.shape[1:], shape[2:], strict=True)):
            raise UsageError(
                "the photo is larger than the net takes",
                where=f"{list_file}:{sample.line}: {sample.image}",
                found=f"{photo.shape[1]} x {photo.shape[0]} (width x height)",
                expected=f"at most {shape[3]} x {shape[2]}, the net's fixed size",
                advice="list smaller photos, or change the input's size in the prototxt",
            )
        yield Trial(sample.image, pixels[None])


def read_photos(list_file: str, root: str) -> list[Sample]:
    """Reads a list of photos: bare VOC ids, or lines with an image name and, optionally, a label name."""
    label_dir = find_label_dir(list_file, root)
    return read_list(list_file, root, labels="optional", label_dir=label_dir)


def compare_models(
    reference: BlobModel, candidate: BlobModel, trials: Iterable[Trial]
) -> Iterator[Comparison]:
    """Compares every blob that both models have, trial by trial, in the reference's order of computation.

    Both sides yield blobs one by one, so that neither holds all of them at a time.

    Raises:
        NetError: the models share no blob name, or a model fails on a trial.
    """
    common = {name for name in reference.values if name in candidate.values}
    if not common:
        raise NetError(
            "the two models have no blob in common",
            found=f"{_some(reference.values)} and {_some(candidate.values)}",
            expected="blobs with the same name in both",
            advice="compare two forms of one net",
        )
    for trial in trials:
        try:
            for blob, found in _pairs(reference, candidate, trial.image, common):
                layer = reference.values[blob.name]
                if blob.choice is None:
                    inner = blob.name not in reference.outputs
                    yield compare(trial.name, blob.name, found, blob.array, layer, inner=inner)
                else:
                    yield blob.choice.follow(trial.name, blob.name, found, layer)
        except NetError:
            if not trial.optional:
                raise


def _pairs(
    reference: BlobModel, candidate: BlobModel, image: np.ndarray, names: set[str]
) -> Iterator[tuple[Blob, np.ndarray]]:
    others = candidate.blobs(image, names)
    early: dict[str, np.ndarray] = {}  # blobs that the candidate computes earlier than the reference
    for blob in reference.blobs(image, names):
        while blob.name not in early:
            other = next(others)
            early[other.name] = other.array
        yield blob, early.pop(blob.name)


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:4]) + (f", ... ({len(names)})" if len(names) > 4 else "")
