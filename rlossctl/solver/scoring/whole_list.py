"""A test net's whole list in batches: every sample once, from the first, without a trace in its position.

Where a SegmentationScores layer counts and the data layer reads photos with label images, each photo is
given whole, as `rlossctl eval` shows it to the net: padded at the bottom and right, never cut. Neighbours of
one size make a batch. Any other net gets the samples that its data layers make.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rlossctl.data.lists import Sample
from rlossctl.data.pairs import read_pair
from rlossctl.data.preprocess import Preprocess
from rlossctl.data.seg_transform import pad_to
from rlossctl.data.sources.imagelist import DenseImageSource
from rlossctl.data.sources.imageseg import PIXEL, ImageSegSource
from rlossctl.data.sources.readahead import ahead
from rlossctl.data.sources.stream import Source
from rlossctl.errors import NetError
from rlossctl.net import Net
from rlossctl.net.deploy import Deploy, preprocess_of
from rlossctl.net.layer import ListMetric
from rlossctl.net.walk import LayerNode

PhotoSource = ImageSegSource | DenseImageSource


class Batch(NamedTuple):
    """The tops of a net's data layers, the number of samples, and the names of their labels."""

    blobs: Mapping[str, Tensor]
    samples: int
    labels: Sequence[str] = ()


class Whole(NamedTuple):
    """A photo as a net sees it.

    Attributes:
        photo: uint8 [H, W, 3] BGR.
        pixels: float32 [3, h, w], prepared and padded.
        label: uint8 [h, w], padded.
        sample: its line in the list.
    """

    photo: np.ndarray
    pixels: np.ndarray
    label: np.ndarray
    sample: Sample


def list_metrics(net: Net) -> list[tuple[LayerNode, ListMetric]]:
    """The layers that count over the whole list, each with its module."""
    modules = ((layer, layer.module) for layer in net.layers)
    return [(layer, module) for layer, module in modules if isinstance(module, ListMetric)]


class WholePhotos:
    """The photos of a data layer, prepared for a net as `rlossctl eval` prepares them.

    Args:
        source: where the list is.
        preprocess: of the net that will see them.
        padding: the label of padded pixels.
    """

    def __init__(self, source: PhotoSource, preprocess: Preprocess, padding: int) -> None:
        self.source = source
        self._preprocess = preprocess
        self.padding = padding

    def load(self, sample: Sample) -> Whole:
        """One line of the list.

        Raises:
            DataError: a file cannot be read, or photo and label differ in size.
        """
        photo, truth = read_pair(sample, self.source.list_name, self.source.upright)
        pixels, _ = self._preprocess.apply(photo.pixels)
        height, width = pixels.shape[1:]
        return Whole(photo.pixels, pixels, pad_to(truth, (height, width), self.padding), sample)

    def batches(self, device: torch.device) -> Generator[Batch, None, None]:
        """The whole list; up to batch_size neighbours of one size go together."""
        group: list[Whole] = []
        for item in ahead(self.source.samples, self.load, max(1, self.source.workers)):
            full = len(group) == self.source.batch_size
            if group and (full or item.pixels.shape != group[0].pixels.shape):
                yield self._batch(group, device)
                group = []
            group.append(item)
        if group:
            yield self._batch(group, device)

    def _batch(self, group: Sequence[Whole], device: torch.device) -> Batch:
        tops = (
            np.stack([item.pixels for item in group]),
            np.stack([item.label for item in group])[:, None].astype(np.float32),
            np.array([item.photo.shape[:2] for item in group], np.float32)[:, None, None],
            np.stack([_valid(item) for item in group])[:, None],
        )
        named = zip(self.source.tops, tops, strict=False)
        blobs = {name: torch.from_numpy(array).to(device) for name, array in named}
        return Batch(blobs, len(group), [str(item.sample.label) for item in group])


def _valid(item: Whole) -> np.ndarray:
    height, width = item.pixels.shape[1:]
    return pad_to(np.ones(item.photo.shape[:2], np.float32), (height, width), 0)


def whole_photos(net: Net) -> WholePhotos | None:
    """How a net with list metrics is shown its photos; None without such a layer or such photos."""
    metrics = list_metrics(net)
    sources = [source for source in net.sources.values() if isinstance(source, Source)]
    if not metrics or len(sources) != 1 or not isinstance(sources[0], PhotoSource):
        return None
    source = sources[0]
    if isinstance(source, ImageSegSource) and source.label_type != PIXEL:
        return None
    layer, metric = metrics[0]
    preprocess = preprocess_of(net, Deploy(net, layer.bottoms[:1]))
    return None if preprocess is None else WholePhotos(source, preprocess, metric.padding)


def whole_list(net: Net) -> Generator[Batch, None, None]:
    """The batches of a test net's whole list.

    Raises:
        NetError: the net has no list, or several of different lengths.
        DataError: a sample cannot be read.
    """
    photos = whole_photos(net)
    return _samples(net) if photos is None else photos.batches(net.device)


def _samples(net: Net) -> Generator[Batch, None, None]:
    """The samples that the data layers make; the last batch may be smaller."""
    sources = [source for source in net.sources.values() if isinstance(source, Source)]
    sizes = {(source.count(), source.batch_size) for source in sources}
    if len(sizes) != 1:
        raise NetError(
            "has no list that a test could go over" if not sizes else "has lists that do not go together",
            where=net.file.path,
            found="; ".join(_in_words(source) for source in sources) or "no such data layer",
            expected="a data layer with a list or a database; several of the same length and batch_size",
            advice="set test_iter in the solver, without test_whole_list and SegmentationScores",
        )
    ((total, size),) = sizes
    for start in range(0, total, size):
        count = min(size, total - start)
        blobs: dict[str, Tensor] = {}
        for source in sources:
            arrays = source.batch(start, count)
            to_device = partial(torch.Tensor.to, device=net.device)
            blobs |= zip(source.tops, map(to_device, map(torch.from_numpy, arrays)), strict=True)
        labels = [str(sample.label) for sample in sources[0].last_batch if sample is not None]
        yield Batch(blobs, count, labels)


def _in_words(source: Source) -> str:
    return f"{source.name}: {source.count()} in batches of {source.batch_size}"
