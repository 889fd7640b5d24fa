"""BVLC Caffe's DataTransformer: crop, mirror, mean and scale of one image (data_transformer.cpp)."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rlossctl.data.seg_transform import own_fields, read_crop
from rlossctl.errors import DataError
from rlossctl.weights.mean import load_mean

if TYPE_CHECKING:
    from rlossctl.prototxt.messages import TransformationParameter


class Cut(NamedTuple):
    """The part of an image to take, and whether to flip it left-right."""

    top: int
    left: int
    height: int
    width: int
    flip: bool

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """The part of an array [..., H, W]."""
        part = array[..., self.top : self.top + self.height, self.left : self.left + self.width]
        return part[..., ::-1] if self.flip else part


class Transformer:
    """(pixel - mean) * scale of the crop, flipped with probability 1/2 if `mirror`.

    The crop is random in TRAIN and central in TEST (rounded up-left); the flip is drawn in both. mean_file
    holds a mean for every pixel of the uncropped image; it is read when first needed.

    Args:
        param: a TransformationParameter.
        phase: "TRAIN" or "TEST".
        where: names the layer in errors.

    Raises:
        DataError: both mean_file and mean_value, both force_color and force_gray, only one side of the crop,
            or fields that ImageSegData alone has.
    """

    def __init__(self, param: TransformationParameter, phase: str, where: object = None) -> None:
        self.phase, self.where = phase, where
        self.scale, self.mirror = float(param.scale), bool(param.mirror)
        self.crop = read_crop(param, where)
        self.mean_file = param.mean_file
        self.mean_value = tuple(float(value) for value in param.mean_value)
        # True, False, or None to keep the encoded file's channels.
        self.color = True if param.force_color else False if param.force_gray else None
        if self.mean_file and self.mean_value:
            raise self._error("the mean is given twice", "mean_file and mean_value", "one of them")
        if own := own_fields(param):
            raise self._error("only ImageSegData has these fields", ", ".join(own), "fields that Caffe has")
        if param.force_color and param.force_gray:
            raise self._error("both colour and grey are forced", "force_color and force_gray", "one of them")

    @cached_property
    def mean_image(self) -> np.ndarray:
        """The mean image of mean_file, float32 [C, H, W]."""
        return load_mean(self.mean_file)

    def draw(self, height: int, width: int, rng: np.random.Generator, place: object) -> Cut:
        """Draws the flip and then the two offsets for an image of this size, in Caffe's order.

        Raises:
            DataError: the image is smaller than the crop (Caffe's transformer does not pad).
        """
        flip = self.mirror and rng.integers(2) == 1
        rows, columns = self.crop or (height, width)
        if rows > height or columns > width:
            raise DataError(
                "the image is smaller than the crop",
                where=place,
                found=f"{height}x{width} (height x width)",
                expected=f"at least {rows}x{columns}",
                advice="lower crop_size, or enlarge the images (new_height, new_width)",
            )
        top, left = height - rows, width - columns
        if self.phase == "TRAIN" and self.crop:
            top, left = int(rng.integers(top + 1)), int(rng.integers(left + 1))
        else:
            top, left = top // 2, left // 2
        return Cut(top, left, rows, columns, flip)

    def __call__(self, image: np.ndarray, cut: Cut, place: object = None) -> np.ndarray:
        """uint8 or float32 [C, H, W] to float32 [C, h, w]."""
        pixels = cut(image).astype(np.float32)
        if self.mean_file:
            pixels -= cut(self._mean_image(image.shape, place))
        elif self.mean_value:
            pixels -= self.means(image.shape[0])[:, None, None]
        pixels *= np.float32(self.scale)
        return np.ascontiguousarray(pixels)

    def means(self, channels: int) -> np.ndarray:
        """mean_value for each channel, float32 [channels]; a single value is replicated.

        Raises:
            DataError: the number of values is neither 1 nor the number of channels.
        """
        if len(self.mean_value) not in (1, channels):
            found = f"{len(self.mean_value)} mean_value entries for {channels} channel(s)"
            raise self._error("one mean value per channel is needed", found, f"1 or {channels}")
        values = self.mean_value if len(self.mean_value) > 1 else self.mean_value * channels
        return np.asarray(values, dtype=np.float32)

    def _mean_image(self, shape: tuple[int, ...], place: object) -> np.ndarray:
        if self.mean_image.shape != shape:
            raise DataError(
                "the mean file does not fit the image",
                where=place,
                found="image {}x{}x{}".format(*shape),
                expected=f"{self.mean_file}: " + "{}x{}x{} (C x H x W)".format(*self.mean_image.shape),
                advice="resize the images to the size of the mean, or use mean_value",
            )
        return self.mean_image

    def _error(self, message: str, found: str, expected: str) -> DataError:
        return DataError(
            message, where=self.where, found=found, expected=expected, advice="correct transform_param"
        )
