"""One sample through the transformations of the rloss fork's ImageSegData, in Caffe's order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rlossctl.data.resize import resize_bilinear, resize_nearest
from rlossctl.errors import DataError

if TYPE_CHECKING:
    from rlossctl.prototxt.messages import TransformationParameter


_OURS = 20000  # fields with greater numbers are not Caffe's


class Transformed(NamedTuple):
    """A sample that is ready for the batch.

    Attributes:
        data: float32 [C, h, w], 0 in the padding unless fill_value says otherwise.
        label: float32 [1, h, w], class ids and the ignore label.
        valid: float32 [1, h, w], 1 inside the photo and 0 in the padding.
    """

    data: np.ndarray
    label: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True)
class SegTransform:
    """Mirror, scale, pad, crop, flip and normalise, in the order of the fork's DataTransformer.

    Attributes:
        phase: "TRAIN" crops at random, "TEST" in the centre.
        mean: subtracted from each channel, in the image's own (BGR) order: none, one, or one per channel.
        scale: factor applied after the mean is subtracted.
        mirror: whether to flip left-right with probability 1/2.
        crop: (height, width) of the result, or None to keep each image's size.
        scale_factors: one is drawn per sample to resize the image and its label.
        ignore_label: label of padded pixels.
        std: divides each channel after the scale, a field of ours: none, one, or one per channel.
    """

    phase: str
    mean: tuple[float, ...] = ()
    scale: float = 1.0
    mirror: bool = False
    crop: tuple[int, int] | None = None
    scale_factors: tuple[float, ...] = ()
    ignore_label: int = 255
    std: tuple[float, ...] = ()

    @classmethod
    def from_message(
        cls, param: TransformationParameter, phase: str, ignore_label: int = 255, where: object = None
    ) -> SegTransform:
        """Reads a TransformationParameter. `where` names the layer in errors.

        Raises:
            DataError: mean_file, a wrong number of mean values or deviations, or crop_size beside
                crop_height/crop_width.
        """
        return cls(
            phase=phase,
            mean=read_mean(param, where),
            scale=param.scale,
            mirror=param.mirror,
            crop=read_crop(param, where),
            scale_factors=_read_scale_factors(param, where),
            ignore_label=ignore_label,
            std=read_std(param, where),
        )

    def __call__(self, image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> Transformed:
        """Transforms one sample; every random number comes from `rng`, in Caffe's order.

        Caffe refuses random crops without mirror unless crop_size is set, because it then has no random
        source; here they work.

        Args:
            image: uint8 [H, W, C], values 0..255.
            label: uint8 [H, W].

        Returns:
            Arrays of the crop's size, or without a crop of the (scaled) image's.
        """
        flip = self.mirror and rng.integers(2) == 1
        if self.scale_factors:
            factor = self.scale_factors[int(rng.integers(len(self.scale_factors)))]
            image, label = _rescale(image, label, factor)
        rows, columns = label.shape
        height, width = self.crop or (rows, columns)
        top, left = self._offset(max(rows - height, 0), max(columns - width, 0), rng)
        window = np.s_[top : top + height, left : left + width]
        found = self.empty(image.shape[2], (height, width))
        rows, columns = label[window].shape
        self.normalize(image[window], out=found.data[:, :rows, :columns])
        found.label[0, :rows, :columns] = label[window]
        found.valid[0, :rows, :columns] = 1
        if flip:
            return Transformed(*(np.ascontiguousarray(array[:, :, ::-1]) for array in found))
        return found

    def empty(self, channels: int, size: tuple[int, int]) -> Transformed:
        """Nothing but padding, `size` (h, w)."""
        label = np.full((1, *size), self.ignore_label, dtype=np.float32)
        return Transformed(np.zeros((channels, *size), np.float32), label, np.zeros((1, *size), np.float32))

    def normalize(self, pixels: np.ndarray, out: np.ndarray) -> None:
        """Writes (pixels - mean) * scale / std of [h, w, C], 0..255, to float32 [C, h, w].

        Channel by channel: the writes are contiguous, which takes a third of the time.
        """
        deviations = self.std * len(out) if len(self.std) == 1 else self.std
        for channel, (plane, mean) in enumerate(zip(out, self.means(len(out)), strict=True)):
            np.subtract(pixels[:, :, channel], mean, out=plane, dtype=np.float32)
            if self.scale != 1:
                plane *= np.float32(self.scale)
            if deviations:
                plane /= np.float32(deviations[channel])

    def means(self, channels: int, where: object = None) -> np.ndarray:
        """The mean of each channel, float32 [channels]. A single value is replicated; none means 0."""
        if len(self.mean) not in (0, 1, channels):
            raise DataError(
                "one mean value per channel is needed",
                where=where,
                found=f"{len(self.mean)} mean_value entries for {channels} channel(s)",
                expected=f"none, 1 or {channels}",
                advice="correct transform_param, or is_color",
            )
        values = self.mean if len(self.mean) > 1 else (self.mean or (0.0,)) * channels
        return np.asarray(values, dtype=np.float32)

    def _offset(self, rows: int, columns: int, rng: np.random.Generator) -> tuple[int, int]:
        """Where the crop begins, given what of the image it leaves over."""
        if self.phase == "TRAIN" and self.crop:
            top = int(rng.integers(rows + 1))
            return top, int(rng.integers(columns + 1))
        return rows // 2, columns // 2


def pad_to(array: np.ndarray, size: tuple[int, int], value: float | np.ndarray) -> np.ndarray:
    """Pads [H, W, ...] with `value` at the bottom and right to at least `size`; never cuts."""
    rows, columns = array.shape[:2]
    height, width = max(rows, size[0]), max(columns, size[1])
    if (height, width) == (rows, columns):
        return array
    padded = np.empty((height, width, *array.shape[2:]), dtype=array.dtype)
    padded[:rows, :columns] = array
    padded[rows:] = value
    padded[:rows, columns:] = value
    return padded


def read_mean(param: TransformationParameter, where: object = None) -> tuple[float, ...]:
    """The mean values of a TransformationParameter: none, one or three (blue, green, red)."""
    if param.mean_file:
        raise DataError(
            "mean_file is not possible with images of different sizes",
            where=where,
            found=f"mean_file: {param.mean_file!r}",
            expected="one or three mean_value entries",
            advice="use the file's mean per channel instead, e.g. mean_value: 104.008, 116.669, 122.675",
        )
    mean = tuple(float(value) for value in param.mean_value)
    if len(mean) not in (0, 1, 3):
        raise DataError(
            "wrong number of mean values",
            where=where,
            found=f"{len(mean)} mean_value entries",
            expected="one for all channels, or three (blue, green, red)",
            advice="correct transform_param",
        )
    return mean


def read_std(param: TransformationParameter, where: object = None) -> tuple[float, ...]:
    """The deviations of a TransformationParameter: none, one or three (blue, green, red), above 0."""
    std = tuple(float(value) for value in param.std_value)
    if len(std) not in (0, 1, 3) or not all(0 < value < float("inf") for value in std):
        raise DataError(
            "impossible deviations",
            where=where,
            found=", ".join(f"std_value: {value:g}" for value in std),
            expected="one for all channels, or three (blue, green, red), above 0",
            advice="correct transform_param; std_value divides what mean_value and scale have left",
        )
    return std


def read_crop(param: TransformationParameter, where: object = None) -> tuple[int, int] | None:
    """(height, width) from crop_size, or from crop_height and crop_width, or None."""
    square, height, width = param.crop_size, param.crop_height, param.crop_width
    if (square and (height or width)) or bool(height) != bool(width):
        raise DataError(
            "the crop is given twice or only in part",
            where=where,
            found=f"crop_size {square}, crop_height {height}, crop_width {width}",
            expected="either crop_size, or both crop_height and crop_width",
            advice="keep one of the two forms in transform_param",
        )
    if square:
        return square, square
    return (height, width) if height else None


def own_fields(param: TransformationParameter) -> list[str]:
    """The names of those fields that are set and not Caffe's."""
    return [field.name for field, _ in param.ListFields() if field.number > _OURS]


def _read_scale_factors(param: TransformationParameter, where: object) -> tuple[float, ...]:
    factors = tuple(float(value) for value in param.scale_factors)
    if any(not 0 < factor < 100 for factor in factors):
        raise DataError(
            "impossible scale factor",
            where=where,
            found=", ".join(f"{factor:g}" for factor in factors),
            expected="positive factors such as 0.5, 1, 1.5",
            advice="correct scale_factors in transform_param",
        )
    return factors


def _rescale(image: np.ndarray, label: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    # The fork multiplies int by float and truncates; a size of 0 becomes 1 pixel here.
    height, width = (max(1, int(np.float32(size) * np.float32(factor))) for size in label.shape)
    return resize_bilinear(image, height, width), resize_nearest(label, height, width)
