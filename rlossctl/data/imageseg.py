"""The source behind ImageSegData: batches of photos and label maps, the same for any number of workers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from rlossctl.data.images import image_size, read_image, read_label
from rlossctl.data.lists import Sample, read_list
from rlossctl.data.order import SampleOrder
from rlossctl.data.readahead import ReadAhead
from rlossctl.data.resize import resize_bilinear
from rlossctl.data.transform import SegTransform
from rlossctl.errors import DataError

# ImageDataParameter.LabelType of the rloss fork.
NONE, IMAGE, PIXEL = 0, 1, 2
_LIST_COLUMN = {NONE: "optional", IMAGE: "integer", PIXEL: "path"}


@dataclass(frozen=True)
class _Decoded:
    """One sample, ready for the batch: float32 [C, h, w], float32 [1, h, w], data_dim's two numbers."""

    sample: Sample
    data: np.ndarray
    label: np.ndarray
    dim: tuple[int, int]


class ImageSegSource:
    """Draws batches as the rloss fork's ImageSegData layer does.

    Every random number comes from a generator keyed by the seed and by the sample's count since the start
    (see `order.SampleOrder`), never from a shared stream; workers only decode ahead. Nothing is read before
    the first call of `shapes` (without a crop) or `next_batch`.

    new_height and new_width resize the image and, as the fork does, the label too by bilinear interpolation;
    that invents class ids at the borders between classes, so they are of use with label_type IMAGE or NONE.

    Args:
        layer: a LayerParameter message of type ImageSegData.
        phase: "TRAIN" or "TEST".
        seed: start of all random draws.
        workers: threads that decode ahead; 0 decodes in the caller.
        source: list file in place of image_data_param.source.
        root: folder in place of image_data_param.root_folder.
        label_dir: the list holds bare VOC ids (see `lists.read_list`).

    Raises:
        DataError: parameters that Caffe refuses too: mean_file, half a crop, one of new_height and new_width,
            an empty batch, more than three tops.
    """

    def __init__(
        self,
        layer: Any,
        phase: str,
        seed: int = 0,
        workers: int = 0,
        *,
        source: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        label_dir: str | None = None,
    ) -> None:
        param = layer.image_data_param
        self.name = layer.name
        self.tops = list(layer.top)
        self.source = param.source if source is None else str(source)
        self.root = param.root_folder if root is None else str(root)
        self.label_dir = label_dir
        self.batch_size = param.batch_size
        self.channels = 3 if param.is_color else 1
        self.transform = SegTransform.from_message(
            layer.transform_param, phase, param.ignore_label, where=f"layer {layer.name!r}"
        )
        self._param = param
        # A net that does not ask for labels needs none.
        self._label_type = int(param.label_type) if len(self.tops) > 1 else NONE
        self._seed = seed
        self._position = 0
        self._samples: list[Sample] | None = None
        self._order: SampleOrder | None = None
        self._last: list[Sample] = []
        self._check()
        self._ahead = ReadAhead(self._decode, workers, depth=max(self.batch_size, 2 * workers))

    @property
    def samples(self) -> list[Sample]:
        """The list's samples in the order of the file; read on first use."""
        if self._samples is None:
            if not self.source:
                raise self._error("no list is named", "source: ''", "the path of a list file")
            labels = _LIST_COLUMN[self._label_type]
            self._samples = read_list(self.source, self.root, labels=labels, label_dir=self.label_dir)
        return self._samples

    @property
    def last_batch(self) -> list[Sample]:
        """The samples of the batch that `next_batch` gave last, for messages about its content."""
        return self._last

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Top name -> shape: data (N, C, h, w), label (N, 1, h, w), data_dim (N, 1, 1, 2).

        Without a crop the first image's header is read: in Caffe the blobs take its size.
        """
        size = self.transform.crop or self._first_size()
        n = self.batch_size
        all_shapes = ((n, self.channels, *size), (n, 1, *size), (n, 1, 1, 2))
        return dict(zip(self.tops, all_shapes, strict=False))

    def next_batch(self) -> list[np.ndarray]:
        """The next batch, float32 arrays in the order of the tops.

        data is (pixel - mean) * scale; label holds class ids and the ignore label; data_dim is
        (min(crop height, rows), min(crop width, columns)) of each image before scaling.

        Raises:
            DataError: a file is missing or damaged, image and label differ in size, or images without a
                crop differ in size within the batch. The position stays where it was.
        """
        self._draw_order()
        batch = self._ahead.take(self._position, self.batch_size)
        self._last = [decoded.sample for decoded in batch]
        self._same_size(batch)
        self._position += self.batch_size
        tops = (
            np.stack([decoded.data for decoded in batch]),
            np.stack([decoded.label for decoded in batch]),
            np.asarray([decoded.dim for decoded in batch], dtype=np.float32).reshape(-1, 1, 1, 2),
        )
        return list(tops[: len(self.tops)])

    def state(self) -> dict[str, int]:
        """Where the stream stands, fit for JSON; `restore` continues with the very next sample."""
        return {"position": self._position, "seed": self._seed, "samples": len(self.samples)}

    def restore(self, state: dict[str, int]) -> None:
        """Continues a stream from `state()`, taking over its seed.

        Raises:
            DataError: the list has another length than the one the state was taken from.
        """
        if state["samples"] != len(self.samples):
            raise DataError(
                "the data position belongs to another list",
                where=self.source,
                found=f"{len(self.samples)} samples",
                expected=f"{state['samples']} samples, as when the snapshot was written",
                advice="resume with the list of the first run, or start anew from the weights",
            )
        self._ahead.drop()
        self._order = None
        self._position = int(state["position"])
        self._seed = int(state["seed"])

    def close(self) -> None:
        """Ends the worker threads; the next batch would start new ones."""
        self._ahead.close()

    def _check(self) -> None:
        param = self._param
        if self.transform.phase not in ("TRAIN", "TEST"):
            raise self._error("unknown phase", self.transform.phase, "TRAIN or TEST")
        if param.mean_file:
            found = f"mean_file: {param.mean_file!r}"
            raise self._error("mean_file is not possible here", found, "mean_value in transform_param")
        if bool(param.new_height) != bool(param.new_width):
            found = f"new_height {param.new_height}, new_width {param.new_width}"
            raise self._error("half a size is given", found, "both new_height and new_width, or neither")
        if self.batch_size < 1:
            raise self._error("the batch is empty", f"batch_size {self.batch_size}", "at least 1")
        if not 1 <= len(self.tops) <= 3:
            raise self._error("wrong number of tops", len(self.tops), "data, label, data_dim: one to three")
        if not 0 <= self.transform.ignore_label <= 255:
            raise self._error("impossible ignore label", self.transform.ignore_label, "0..255")
        self.transform.means(self.channels, f"layer {self.name!r}")

    def _error(self, message: str, found: object, expected: str) -> DataError:
        return DataError(
            message,
            where=f"layer {self.name!r}",
            found=found,
            expected=expected,
            advice="correct the layer in the prototxt",
        )

    def _draw_order(self) -> SampleOrder:
        if self._order is None:
            self._order = SampleOrder(
                len(self.samples),
                shuffle=self._param.shuffle,
                rand_skip=self._param.rand_skip,
                seed=self._seed,
                where=f"layer {self.name!r}",
            )
        return self._order

    def _decode(self, number: int) -> _Decoded:
        order = self._draw_order()
        sample = self.samples[order.index(number)]
        image, label = self._load(sample)
        rows, columns = label.shape
        crop = self.transform.crop or (rows, columns)
        data, label = self.transform(image, label, order.generator(number))
        return _Decoded(sample, data, label, (min(crop[0], rows), min(crop[1], columns)))

    def _load(self, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
        listed = f"{self.source}:{sample.line}"
        image = read_image(sample.image, color=self.channels == 3, listed=listed)
        if self._label_type == PIXEL:
            label = read_label(sample.label or "", listed=listed)
            _fits(sample, listed, image, label)
        else:
            label = np.full(image.shape[:2], self._fill_value(sample, listed), dtype=np.uint8)
        if self._param.new_height:
            size = (self._param.new_height, self._param.new_width)
            return resize_bilinear(image, *size), resize_bilinear(label, *size)
        return image, label

    def _fill_value(self, sample: Sample, listed: str) -> int:
        if self._label_type == NONE:
            return self.transform.ignore_label
        text = sample.label or ""
        if not text.isdecimal() or int(text) > 255:
            raise DataError(
                "the image's label is no class id",
                where=listed,
                found=text,
                expected="an integer 0..255 (label_type IMAGE, which is the default)",
                advice="set label_type: PIXEL in image_data_param where the second column names label images",
            )
        return int(text)

    def _first_size(self) -> tuple[int, int]:
        if self._param.new_height:
            return self._param.new_height, self._param.new_width
        first = self.samples[self._draw_order().index(self._position)]
        return image_size(first.image, listed=f"{self.source}:{first.line}")

    def _same_size(self, batch: list[_Decoded]) -> None:
        first = batch[0]
        for other in batch[1:]:
            if other.label.shape != first.label.shape:
                raise DataError(
                    "images without a crop differ in size within a batch",
                    where=f"{other.sample.image} (named in {self.source}:{other.sample.line})",
                    found="{1}x{2} (height x width)".format(*other.label.shape),
                    expected="{1}x{2} like ".format(*first.label.shape) + first.sample.image,
                    advice="set crop_size in transform_param, or batch_size: 1",
                )


def _fits(sample: Sample, listed: str, image: np.ndarray, label: np.ndarray) -> None:
    if label.shape == image.shape[:2]:
        return
    raise DataError(
        "image and label differ in size",
        where=f"{sample.label} (named in {listed})",
        found=f"label {label.shape[0]}x{label.shape[1]} (height x width)",
        expected=f"{image.shape[0]}x{image.shape[1]} like {sample.image}",
        advice="check that the line pairs the right files",
    )
