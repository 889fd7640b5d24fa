"""The source behind ImageSegData: batches of photos and label maps, identical for any number of workers."""

from __future__ import annotations

import os
from dataclasses import replace
from threading import Lock
from typing import Literal, cast

import numpy as np

from rlossctl.data.augmenting.fields import augments, read_transform
from rlossctl.data.augmenting.resampling import LONGEST
from rlossctl.data.augmenting.strokes import Strokes
from rlossctl.data.augmenting.transform import AugmentingTransform
from rlossctl.data.images import image_size, read_label, read_photo
from rlossctl.data.lists import Sample, read_list
from rlossctl.data.resize import resize_bilinear
from rlossctl.data.seg_transform import SegTransform, Transformed
from rlossctl.data.sources.annotated import fault, read_annotations, strokes_of
from rlossctl.data.sources.order import SampleOrder
from rlossctl.data.sources.stream import Item, Source
from rlossctl.data.weak.annotations import Annotation
from rlossctl.errors import DataError
from rlossctl.prototxt.messages import ImageDataParameter, LayerParameter

NONE, IMAGE, PIXEL = ImageDataParameter.NONE, ImageDataParameter.IMAGE, ImageDataParameter.PIXEL
STROKES = ImageDataParameter.STROKES
_LIST_COLUMN: dict[ImageDataParameter.LabelType, Literal["optional", "integer", "path"]] = {
    NONE: "optional",
    IMAGE: "integer",
    PIXEL: "path",
    STROKES: "optional",
}


class ImageSegSource(Source):
    """Draws batches as the rloss fork's ImageSegData layer does.

    Every random number comes from a generator keyed by the seed and by the sample's count since the start
    (see `order.SampleOrder`), never from a shared stream. Workers only decode ahead. Nothing is read before
    the first call of `shapes` (without a crop) or `next_batch`.

    new_height and new_width resize the image and, as in the fork, the label as well, by bilinear
    interpolation. That invents class ids at the borders between classes, so these fields are useful only with
    label_type IMAGE or NONE.

    upright, a field of ours, turns photos as their EXIF orientation says; label images are taken as they are.

    With one of our own fields in transform_param (docs/data.md), or with label_type STROKES, photo and label
    are warped once (`augmenting.transform`). Otherwise all is as in the fork, bit for bit.

    Args:
        layer: a LayerParameter message of type ImageSegData.
        phase: "TRAIN" or "TEST".
        seed: seed of all random draws.
        workers: threads that decode ahead; 0 decodes in the caller.
        where, image_shape: see `Source`.
        source: list file to use instead of image_data_param.source.
        root: folder to use instead of image_data_param.root_folder.
        label_dir: if given, the list holds bare VOC ids (see `lists.read_list`).

    Raises:
        DataError: parameters that Caffe refuses too: mean_file, only one side of the crop, only one of
            new_height and new_width, an empty batch. Also more than four tops, and fields of ours that are
            out of range or do not go together.
    """

    def __init__(
        self,
        layer: LayerParameter,
        phase: str,
        seed: int = 0,
        workers: int = 0,
        *,
        where: str = "",
        image_shape: tuple[int, int, int] | None = None,
        source: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        label_dir: str | None = None,
    ) -> None:
        param = layer.image_data_param
        super().__init__(
            layer, param.batch_size, where=where, seed=seed, workers=workers, image_shape=image_shape
        )
        self.source = param.source if source is None else str(source)
        self.root = param.root_folder if root is None else str(root)
        self.label_dir = label_dir
        self.annotation = list(param.annotation)
        self.channels = 3 if param.is_color else 1
        self.upright = param.upright
        place = where or f"layer {layer.name!r}"
        self.transform = SegTransform.from_message(layer.transform_param, phase, param.ignore_label, place)
        self.augment: AugmentingTransform | None = None
        if augments(layer.transform_param) or param.label_type == STROKES:
            self.augment = read_transform(layer.transform_param, self.transform, place)
        self._param = param
        # A net without a label top needs no labels.
        self.label_type = param.label_type if len(self.tops) > 1 else NONE
        self._samples: list[Sample] | None = None
        self._annotations: dict[str, Annotation] = {}
        self._reading = Lock()
        self._check()

    @property
    def samples(self) -> list[Sample]:
        """The list's samples in the order of the file; read on first use."""
        if self._samples is None:
            if not self.source:
                raise self.error("no list is named", found="source: ''", expected="the path of a list file")
            labels = _LIST_COLUMN[self.label_type]
            self._samples = read_list(self.source, self.root, labels=labels, label_dir=self.label_dir)
        return self._samples

    def count(self) -> int:
        return len(self.samples)

    def named_files(self) -> list[Sample]:
        labelled = self.label_type == PIXEL
        return self.samples if labelled else [replace(sample, label=None) for sample in self.samples]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Top name -> shape: data (N, C, h, w), label (N, 1, h, w), data_dim (N, 1, 1, 2), valid as label.

        Without a crop the first image's header is read, because Caffe's blobs take its size.
        """
        size = self.transform.crop or self._first_size()
        n = self.batch_size
        all_shapes = ((n, self.channels, *size), (n, 1, *size), (n, 1, 1, 2), (n, 1, *size))
        return dict(zip(self.tops, all_shapes, strict=False))

    def read(self, number: int) -> Item:
        """data is (pixel - mean) * scale / std; label holds class ids and the ignore label; data_dim is
        (min(crop height, rows), min(crop width, columns)) of the image before scaling; valid is 1 inside the
        photo and 0 in the padding.
        """
        order = self._order()
        sample = self.samples[order.index(number)]
        image, label, rotated = self._load(sample)
        rows, columns = image.shape[:2]
        crop = self.transform.crop or (rows, columns)
        found = self._transformed(image, label, order.generator(number))
        dim = np.array([[[min(crop[0], rows), min(crop[1], columns)]]], dtype=np.float32)
        place = f"{sample.image} (named in {self.source}:{sample.line})"
        arrays = (found.data, found.label, dim, found.valid)
        return Item(arrays[: len(self.tops)], place, sample, rotated)

    def _check(self) -> None:
        param = self._param
        if self.transform.phase not in ("TRAIN", "TEST"):
            raise self.error("unknown phase", found=self.transform.phase, expected="TRAIN or TEST")
        if param.mean_file:
            found = f"mean_file: {param.mean_file!r}"
            raise self.error(
                "mean_file is not possible here", found=found, expected="mean_value in transform_param"
            )
        if bool(param.new_height) != bool(param.new_width):
            found = f"new_height {param.new_height}, new_width {param.new_width}"
            raise self.error(
                "only one side of the size is given",
                found=found,
                expected="both new_height and new_width, or neither",
            )
        if not 1 <= len(self.tops) <= 4:
            expected = "data, label, data_dim, valid: one to four"
            raise self.error("wrong number of tops", found=len(self.tops), expected=expected)
        if not 0 <= self.transform.ignore_label <= 255:
            raise self.error("impossible ignore label", found=self.transform.ignore_label, expected="0..255")
        if wrong := fault(param, param.label_type == STROKES):
            raise self.error(wrong[0], found=wrong[1], expected=wrong[2])
        colour = self.augment.colour if self.augment else None
        if self.channels == 1 and colour and (colour.saturation or colour.hue):
            raise self.error("grey photos have no hue", found="saturation or hue", expected="is_color: true")
        self.transform.means(self.channels, self.where or f"layer {self.name!r}")

    def _order(self) -> SampleOrder:
        return self.order(shuffle=self._param.shuffle, rand_skip=self._param.rand_skip)

    def _transformed(
        self, image: np.ndarray, label: np.ndarray | Strokes, rng: np.random.Generator
    ) -> Transformed:
        if self.augment is not None:
            return self.augment(image, label, rng)
        return self.transform(image, cast("np.ndarray", label), rng)

    def _load(self, sample: Sample) -> tuple[np.ndarray, np.ndarray | Strokes, bool]:
        """Photo, label, and whether EXIF says that the photo should be turned."""
        listed = f"{self.source}:{sample.line}"
        photo = read_photo(sample.image, color=self.channels == 3, upright=self.upright, listed=listed)
        image = photo.pixels
        if self.augment and max(image.shape) > LONGEST:
            raise DataError(
                "the photo is too large to be warped",
                where=f"{sample.image} (named in {listed})",
                found=f"{image.shape[1]}x{image.shape[0]} (width x height)",
                expected=f"sides of at most {LONGEST} pixels",
                advice="make it smaller, or leave out the fields of transform_param that Caffe has not",
            )
        if self.label_type == STROKES:
            size = image.shape[0], image.shape[1]
            return image, strokes_of(self._annotated(), sample, size, self._param), photo.rotated
        if self.label_type == PIXEL:
            label = read_label(sample.label or "", listed=listed)
            _fits(sample, listed, image, label)
        else:
            label = np.full(image.shape[:2], self._fill_value(sample, listed), dtype=np.uint8)
        if self._param.new_height:
            size = (self._param.new_height, self._param.new_width)
            return resize_bilinear(image, *size), resize_bilinear(label, *size), photo.rotated
        return image, label, photo.rotated

    def _annotated(self) -> dict[str, Annotation]:
        with self._reading:  # several threads may be first
            if not self._annotations:
                place = self.where or f"layer {self.name!r}"
                self._annotations = read_annotations(self._param, self.samples, place)
        return self._annotations

    def _fill_value(self, sample: Sample, listed: str) -> int:
        if self.label_type == NONE:
            return self.transform.ignore_label
        text = sample.label or ""
        if not text.isdecimal() or int(text) > 255:
            raise DataError(
                "the image's label is not a class id",
                where=listed,
                found=text,
                expected="an integer 0..255 (label_type IMAGE, which is the default)",
                advice="set label_type: PIXEL in image_data_param if the second column names label images",
            )
        return int(text)

    def _first_size(self) -> tuple[int, int]:
        size = self._first_photo()
        return self.augment.geometry.size(size) if self.augment else size

    def _first_photo(self) -> tuple[int, int]:
        if self._param.new_height:
            return self._param.new_height, self._param.new_width
        if self.image_shape:
            return self.image_shape[1:]
        first = self.samples[self._order().index(self.position)]
        listed = f"{self.source}:{first.line}"
        return image_size(first.image, upright=self.upright, listed=listed)


def _fits(sample: Sample, listed: str, image: np.ndarray, label: np.ndarray) -> None:
    if label.shape == image.shape[:2]:
        return
    raise DataError(
        "image and label differ in size",
        where=f"{sample.label} (named in {listed})",
        found=f"label {label.shape[0]}x{label.shape[1]} (height x width)",
        expected=f"{image.shape[0]}x{image.shape[1]} like {sample.image}",
        advice="check that the line pairs the right files; if labels were drawn on photos that EXIF turns, "
        "set upright: true in image_data_param",
    )
