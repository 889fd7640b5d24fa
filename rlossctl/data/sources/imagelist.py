"""The sources behind ImageData (lines of image and class) and DenseImageData (image and label image)."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rlossctl.data.bvlc_transform import Cut, Transformer
from rlossctl.data.images import image_size, read_label, read_photo
from rlossctl.data.lists import Sample, read_class_list, read_list
from rlossctl.data.resize import resize_bilinear, resize_nearest
from rlossctl.data.sources.stream import Item, Source, SourceOptions, StreamOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from rlossctl.prototxt.messages import DenseImageDataParameter, ImageDataParameter, LayerParameter

Shape = tuple[int, ...]


class ListSource(Source):
    """What sources of listed photos share: the list, its order, the new size."""

    def __init__(
        self,
        layer: LayerParameter,
        param: ImageDataParameter | DenseImageDataParameter,
        phase: str,
        *,
        source: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        super().__init__(layer, param.batch_size, **options)
        self.source = param.source if source is None else str(source)
        self.root = param.root_folder if root is None else str(root)
        self.channels = 3 if param.is_color else 1
        self.upright = param.upright
        self.transform = Transformer(layer.transform_param, phase, self.where or f"layer {layer.name!r}")
        self.new_size = (param.new_height, param.new_width) if param.new_height else None
        self._param = param
        self._samples: list[Sample] | None = None
        if bool(param.new_height) != bool(param.new_width):
            raise self.error(
                "only one side of the size is given",
                found=f"new_height {param.new_height}, new_width {param.new_width}",
                expected="both new_height and new_width, or neither",
            )
        if len(self.tops) != 2:
            raise self.error("wrong number of tops", found=len(self.tops), expected="two: data and label")
        if self.transform.mean_value:
            self.transform.means(self.channels)

    @property
    def samples(self) -> list[Sample]:
        """The list's samples in the order of the file; read on first use."""
        if self._samples is None:
            if not self.source:
                raise self.error("no list is named", found="source: ''", expected="the path of a list file")
            self._samples = self.read_lines()
        return self._samples

    def read_lines(self) -> list[Sample]:
        """Reads the list file."""
        raise TypeError(f"{type(self).__name__} has no list")

    def count(self) -> int:
        return len(self.samples)

    def sample(self, number: int) -> tuple[Sample, np.random.Generator]:
        """The `number`-th line drawn, and the generator of its random numbers."""
        order = self.order(shuffle=self._param.shuffle, rand_skip=self._param.rand_skip)
        return self.samples[order.index(number)], order.generator(number)

    def listed(self, sample: Sample) -> str:
        """The place of a sample, as file:line."""
        return f"{self.source}:{sample.line}"

    def image(self, sample: Sample) -> tuple[np.ndarray, bool]:
        """uint8 [C, H, W], resized bilinearly to new_height and new_width, if set; and whether EXIF says that
        it should be turned."""
        photo = read_photo(
            sample.image, color=self.channels == 3, upright=self.upright, listed=self.listed(sample)
        )
        image = photo.pixels
        if self.new_size:
            image = resize_bilinear(image, *self.new_size)
        return image.transpose(2, 0, 1), photo.rotated

    def same_size(self, sample: Sample, image: Shape, label: Shape) -> None:
        """Whether the sizes (height, width) of an image and its label agree.

        Raises:
            DataError: they do not; names both files and the line.
        """
        if image == label:
            return
        raise self.error(
            "image and label differ in size",
            where=f"{sample.label} (named in {self.listed(sample)})",
            found="label {}x{} (height x width)".format(*label),
            expected="{}x{} like ".format(*image) + sample.image,
            advice="check that the line pairs the right files"
            + ("" if self.new_size else ", or give new_height and new_width"),
        )

    def first_size(self) -> tuple[int, int]:
        """(height, width) of the next image, from the prototxt or the image's header."""
        if self.new_size:
            return self.new_size
        if self.image_shape:
            return self.image_shape[1:]
        sample, _ = self.sample(self.position)
        return image_size(sample.image, upright=self.upright, listed=self.listed(sample))


class ImageSource(ListSource):
    """Draws batches as ImageData does (image_data_layer.cpp).

    Args:
        layer: a LayerParameter message of type ImageData.
        phase: "TRAIN" or "TEST".
        spaces_in_names: the class follows the last space (BVLC); otherwise a line has two tokens (forks).
        where, seed, workers, image_shape: see `Source`.
        source, root: list file and folder to use instead of those in image_data_param.

    Raises:
        DataError: parameters that Caffe refuses too.
    """

    def __init__(
        self,
        layer: LayerParameter,
        phase: str,
        *,
        spaces_in_names: bool = True,
        **options: Unpack[SourceOptions],
    ) -> None:
        super().__init__(layer, layer.image_data_param, phase, **options)
        self._spaces = spaces_in_names

    def read_lines(self) -> list[Sample]:
        return read_class_list(self.source, self.root, spaces_in_names=self._spaces)

    def named_files(self) -> list[Sample]:
        return [replace(sample, label=None) for sample in self.samples]

    def shapes(self) -> dict[str, Shape]:
        """data (N, C, h, w), label (N,). Without a crop or a new size, the first image's header is read."""
        size = self.transform.crop or self.first_size()
        shapes = (self.batch_size, self.channels, *size), (self.batch_size,)
        return dict(zip(self.tops, shapes, strict=True))

    def read(self, number: int) -> Item:
        sample, rng = self.sample(number)
        image, rotated = self.image(sample)
        place = f"{sample.image} (named in {self.listed(sample)})"
        cut = self.transform.draw(image.shape[1], image.shape[2], rng, place)
        return Item((self.transform(image, cut, place), np.float32(sample.label)), place, sample, rotated)


class DenseImageSource(ListSource):
    """Draws batches as DenseImageData of SegNet's and ENet's forks does (dense_image_data_layer.cpp).

    Image and label are resized (the label by nearest neighbour), flipped with probability 1/2 if `mirror`,
    and cropped at a random place if crop_height and crop_width are given (both also in TEST). The image alone
    gets (pixel - mean) * scale of transform_param. ENet's label_divide_factor shrinks the label image by that
    factor, but only together with new_height and new_width.

    Differences from the forks: palette label images are read as indices, not as grey levels; crop_size and
    mirror of transform_param are drawn once for image and label (ENet's fork draws them separately, SegNet's
    aborts).

    Args:
        layer: a LayerParameter message of type DenseImageData.
        phase: "TRAIN" or "TEST".
        where, seed, workers, image_shape: see `Source`.
        source, root: list file and folder to use instead of those in dense_image_data_param.

    Raises:
        DataError: parameters that cannot be combined.
    """

    def __init__(self, layer: LayerParameter, phase: str, **options: Unpack[SourceOptions]) -> None:
        param = layer.dense_image_data_param
        super().__init__(layer, param, phase, **options)
        self.crop = (param.crop_height, param.crop_width) if param.crop_height else None
        self.divisor = param.label_divide_factor if self.new_size else 1
        if bool(param.crop_height) != bool(param.crop_width):
            raise self.error(
                "only one side of the crop is given",
                found=f"crop_height {param.crop_height}, crop_width {param.crop_width}",
                expected="both, or neither",
            )
        if self.divisor < 1 or (self.divisor > 1 and (self.crop or self.transform.crop)):
            raise self.error(
                "label_divide_factor cannot be combined with the other fields",
                found=f"label_divide_factor {param.label_divide_factor}, a crop: {bool(self.crop)}",
                expected="at least 1, and no crop",
            )

    def read_lines(self) -> list[Sample]:
        return read_list(self.source, self.root)

    def named_files(self) -> list[Sample]:
        return self.samples

    def shapes(self) -> dict[str, Shape]:
        """data (N, C, h, w), label (N, 1, h, w). Reads the first image's header if no size is given."""
        height, width = self.transform.crop or self.crop or self.first_size()
        n = self.batch_size
        shapes = (n, self.channels, height, width), (n, 1, height // self.divisor, width // self.divisor)
        return dict(zip(self.tops, shapes, strict=True))

    def read(self, number: int) -> Item:
        sample, rng = self.sample(number)
        place = f"{sample.image} (named in {self.listed(sample)})"
        image, rotated = self.image(sample)
        label = self.label(sample)
        if not self.new_size:
            self.same_size(sample, image.shape[1:], label.shape)
        first = self.draw_crop(image.shape[1], image.shape[2], rng, place)
        image, label = first(image), first(label)
        cut = self.transform.draw(image.shape[1], image.shape[2], rng, place)
        data = self.transform(image, cut, place)
        return Item((data, np.ascontiguousarray(cut(label), dtype=np.float32)[None]), place, sample, rotated)

    def label(self, sample: Sample) -> np.ndarray:
        """uint8 [H, W] of class ids, resized to the new size divided by label_divide_factor."""
        label = read_label(sample.label or "", listed=self.listed(sample))
        if self.new_size:
            height, width = self.new_size
            label = resize_nearest(label, height // self.divisor, width // self.divisor)
        return label

    def draw_crop(self, height: int, width: int, rng: np.random.Generator, place: str) -> Cut:
        """The layer's own flip and crop: random in both phases."""
        flip = self._param.mirror and rng.integers(2) == 1
        rows, columns = self.crop or (height, width)
        if rows > height or columns > width:
            raise self.error(
                "the image is smaller than the crop",
                where=place,
                found=f"{height}x{width} (height x width)",
                expected=f"at least {rows}x{columns}",
                advice="lower crop_height and crop_width, or enlarge the images (new_height, new_width)",
            )
        top = int(rng.integers(height - rows + 1))
        return Cut(top, int(rng.integers(width - columns + 1)), rows, columns, flip)
