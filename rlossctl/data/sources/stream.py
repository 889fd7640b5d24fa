"""The base of all sources behind data layers: a position in a stream of samples, batches, exact resume."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from rlossctl.data.images import RotatedPhotos, read_label
from rlossctl.data.lists import Sample
from rlossctl.data.sources.order import SampleOrder
from rlossctl.data.sources.readahead import ReadAhead
from rlossctl.errors import DataError

if TYPE_CHECKING:
    from rlossctl.prototxt.messages import LayerParameter


@dataclass(frozen=True)
class Item:
    """One sample: an array for every top, its place (for errors), and its line in a list.

    `rotated` says that its photo should be turned, as EXIF says, and is not.
    """

    arrays: tuple[np.ndarray, ...]
    place: str
    sample: Sample | None = None
    rotated: bool = False


class StreamOptions(TypedDict, total=False):
    """What every source takes, see `Source`."""

    where: str
    seed: int
    workers: int
    image_shape: tuple[int, int, int] | None


class SourceOptions(StreamOptions, total=False):
    """What a source takes that reads a list or a database: its path and folder in place of the prototxt's.

    Without `where`, which the net knows, this is what a net's caller says about its data layers.
    """

    source: str | os.PathLike[str] | None
    root: str | os.PathLike[str] | None


class Source:
    """Draws batches of samples. A sample depends only on the seed and on its count since the start.

    A subclass says how many samples there are (`count`) and reads one (`read`). Threads may read several
    at once; any number of workers gives the same stream.

    Args:
        layer: the LayerParameter.
        batch_size: samples per batch.
        where: file:line of the layer, for errors.
        seed: seed of all random draws.
        workers: threads that read ahead; 0 reads in the caller.
        image_shape: (C, H, W) of the images before the crop. With it, `shapes` reads no file, so that a net
            can be inspected without its data.

    Raises:
        DataError: the batch is empty.
    """

    label_rule = ""  # what a value in a label file means, where it is not a class id

    def __init__(
        self,
        layer: LayerParameter,
        batch_size: int,
        *,
        where: str = "",
        seed: int = 0,
        workers: int = 0,
        image_shape: tuple[int, int, int] | None = None,
    ) -> None:
        self.name, self.type, self.tops, self.where = layer.name, layer.type, list(layer.top), where
        self.batch_size = batch_size
        self.position = 0
        self.seed = seed
        self.image_shape = image_shape
        self.workers = workers
        self._drawn: SampleOrder | None = None
        self._last: list[Item] = []
        self._warned = False
        self._ahead = ReadAhead(self.read, workers, depth=max(batch_size, 2 * workers))
        if batch_size < 1:
            raise self.error("the batch is empty", found=f"batch_size {batch_size}", expected="at least 1")

    @property
    def last_batch(self) -> list[Sample | None]:
        """The list's lines for the batch that `next_batch` returned last."""
        return [item.sample for item in self._last]

    def count(self) -> int:
        """Number of samples in the list or database."""
        raise TypeError(f"{type(self).__name__} has no samples")

    @property
    def list_name(self) -> str:
        """The list's path, for messages."""
        return str(getattr(self, "source", self.name))

    def named_files(self) -> list[Sample]:
        """The lines of the list that name files; `label` is None unless it names a file."""
        return []

    def label_ids(self, sample: Sample) -> np.ndarray:
        """The class ids of a line's label, uint8 [H, W], whatever the net's size."""
        return read_label(sample.label or "")

    def read(self, number: int) -> Item:
        """The `number`-th sample since the start, ready for the batch."""
        raise TypeError(f"{type(self).__name__} has no samples")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Top name -> shape of a batch. Reads data only if the prototxt leaves the shape open."""
        raise TypeError(f"{type(self).__name__} has no shapes")

    def next_batch(self) -> list[np.ndarray]:
        """The next batch, float32 arrays in the order of the tops.

        Raises:
            DataError: a sample cannot be read, or its size differs from that of the batch's first sample,
                whose size Caffe's blobs take. The position does not change.
        """
        batch = self.batch(self.position, self.batch_size)
        self.position += self.batch_size
        return batch

    def batch(self, start: int, size: int) -> list[np.ndarray]:
        """`size` samples from the `start`-th on, as `next_batch` gives them; the position stays.

        Raises:
            DataError: as for `next_batch`.
        """
        items = self._ahead.take(start, size)
        for item in items[1:]:
            self._same_size(items[0], item)
        self._last = items
        self._warn_of_rotation()
        return [np.stack(arrays) for arrays in zip(*(item.arrays for item in items), strict=True)]

    def state(self) -> dict[str, int]:
        """The stream's position, ready for JSON; `restore` continues with the next sample."""
        return {"position": self.position, "seed": self.seed, "samples": self.count()}

    def restore(self, state: dict[str, int]) -> None:
        """Continues a stream from `state()` and takes over its seed.

        Raises:
            DataError: the number of samples differs from that in the state.
        """
        if state["samples"] != self.count():
            raise self.error(
                "the data position belongs to another list or database",
                found=f"{self.count()} samples",
                expected=f"{state['samples']} samples, as when the snapshot was written",
                advice="resume with the data of the first run, or start again from the weights",
            )
        self._ahead.close()  # a thread that is still reading must not draw the old order again
        self._drawn = None
        self.position, self.seed = int(state["position"]), int(state["seed"])

    def close(self) -> None:
        """Ends the worker threads; the next batch starts new ones."""
        self._ahead.close()

    def order(self, *, shuffle: bool = False, rand_skip: int = 0) -> SampleOrder:
        """The order of the samples and their random generators, drawn once."""
        if self._drawn is None:
            where = self.where or f"layer {self.name!r}"
            self._drawn = SampleOrder(
                self.count(), shuffle=shuffle, rand_skip=rand_skip, seed=self.seed, where=where
            )
        return self._drawn

    def error(
        self,
        message: str,
        *,
        found: object = None,
        expected: object = None,
        advice: str = "correct the layer in the prototxt",
        where: object = None,
    ) -> DataError:
        """A DataError that names the layer, and the layer's place unless `where` is given."""
        return DataError(
            f"layer {self.name!r} ({self.type}): {message}",
            where=where or self.where or None,
            found=found,
            expected=expected,
            advice=advice,
        )

    def _warn_of_rotation(self) -> None:
        """Names the first photo that should be turned, once: its label may have been drawn on it upright."""
        first = next((item for item in self._last if item.rotated), None)
        if first is None or self._warned:
            return
        self._warned = True
        warnings.warn(
            f"layer {self.name!r}: EXIF says that {first.place} should be turned, which is not done (others "
            "may follow); if labels were drawn on upright photos, set the layer's field upright: true",
            RotatedPhotos,
            stacklevel=4,
        )

    def _same_size(self, first: Item, other: Item) -> None:
        for one, two in zip(first.arrays, other.arrays, strict=True):
            if one.shape != two.shape:
                raise self.error(
                    "the samples of a batch differ in size",
                    where=other.place,
                    found="x".join(map(str, two.shape)),
                    expected="x".join(map(str, one.shape)) + f" like {first.place}",
                    advice="set a crop or a new size, or batch_size: 1",
                )
