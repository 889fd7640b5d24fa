"""How a photo becomes a net's input. Converters write this into a model file; evaluation applies it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlossctl.data.seg_transform import SegTransform, read_crop, read_mean, read_std
from rlossctl.errors import DataError

if TYPE_CHECKING:
    from rlossctl.prototxt.messages import LayerParameter

_RANDOM_CROPS = ("DenseImageData", "ImageLabelmapData")


# Of blue, green and red in 1/65536: ITU-R 601, rounded as in Pillow's mode L.
_GREY = (7471, 38470, 19595)


@dataclass(frozen=True)
class Preprocess:
    """(pixel - mean) * scale / std, channel order and size rule of a net's input.

    Attributes:
        mean_bgr: subtracted from each channel; always blue first, in units of 0..255.
        scale: factor applied after the subtraction.
        channel_order: of the net's input, "bgr" as in Caffe or "rgb"; "grey" for one channel, ITU-R 601's
            luma as Pillow computes it, with the same mixture of the means and of the deviations.
        crop: (height, width) to which smaller images are padded, or None.
        stride, offset: a side longer than the crop (without a crop, any side) is padded to the next
            stride * k + offset; nets that align corners use 8 and 1, for example.
        std_bgr: divides each channel after the scale; always blue first, in units of the scaled values.
    """

    mean_bgr: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    channel_order: Literal["bgr", "rgb", "grey"] = "bgr"
    crop: tuple[int, int] | None = None
    stride: int = 1
    offset: int = 0
    std_bgr: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        sound = (
            self.channel_order in ("bgr", "rgb", "grey")
            and len(self.mean_bgr) == len(self.std_bgr) == 3
            and all(map(math.isfinite, (*self.mean_bgr, self.scale, *self.std_bgr)))
            and self.scale != 0
            and min(self.std_bgr) > 0
            and (self.crop is None or min(self.crop) >= 1)
            and self.stride >= 1
        )
        if not sound:
            raise DataError(
                "impossible preprocessing",
                found=f"mean {self.mean_bgr}, scale {self.scale}, std {self.std_bgr}, "
                f"order {self.channel_order!r}, crop {self.crop}, stride {self.stride}",
                expected="three mean values (blue, green, red), a scale other than 0, deviations above 0, "
                "order bgr, rgb or grey, a crop of at least one pixel, stride of at least 1",
                advice="correct the override, or convert the model again",
            )

    @classmethod
    def from_layer(cls, layer: LayerParameter, *, stride: int = 1, offset: int = 0) -> Preprocess:
        """Reads the transform_param of a data layer's message.

        Caffe's data layers give BGR. A single mean value applies to all three channels. DenseImageData and
        ImageLabelmapData crop at random or not at all and never pad, so their crop is ignored and whole
        photos are predicted.

        Raises:
            DataError: mean_file, a wrong number of mean values or deviations, or only one side of the crop.
        """
        where = f"layer {layer.name!r}"
        mean = read_mean(layer.transform_param, where) or (0.0,)
        blue, green, red = mean if len(mean) == 3 else mean * 3
        std = read_std(layer.transform_param, where) or (1.0,)
        deviations = std if len(std) == 3 else std * 3
        return cls(
            mean_bgr=(blue, green, red),
            scale=float(layer.transform_param.scale),
            crop=None if layer.type in _RANDOM_CROPS else read_crop(layer.transform_param, where),
            stride=stride,
            offset=offset,
            std_bgr=(deviations[0], deviations[1], deviations[2]),
        )

    def to_json(self) -> str:
        """One line of JSON for a model file's metadata."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: object = None) -> Preprocess:
        """Reads `to_json`'s text back. `where` names the model file in errors.

        Raises:
            DataError: not JSON, or not these fields.
        """
        try:
            fields = json.loads(text)
            for key in ("mean_bgr", "crop", "std_bgr"):
                if fields.get(key) is not None:
                    fields[key] = tuple(fields[key])
            return cls(**fields)
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise DataError(
                "the preprocessing recorded in the model cannot be read",
                where=where,
                found=str(error),
                expected="the JSON that rlossctl convert writes",
                advice="convert the model again, or give --mean, --scale and the crop yourself",
            ) from error

    def apply(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """The whole photo as input, padded with the mean (exactly 0 in the result) at the bottom and right.

        Args:
            image: uint8 [H, W, 3], blue first, 0..255.

        Returns:
            float32 [3, h, w] ([1, h, w] if grey), and (H, W), the part of the result that holds the photo.
        """
        rows, columns = image.shape[:2]
        planes = self._planes(image)
        out = np.zeros((len(planes), *self.padded(rows, columns)), np.float32)
        # Channel by channel: the writes are contiguous, which takes a third of the time.
        for target, (plane, mean, factor) in zip(out, planes, strict=True):
            part = target[:rows, :columns]
            np.subtract(plane, np.float32(mean), out=part, dtype=np.float32)
            if factor != 1:
                part *= np.float32(factor)
        return out, (rows, columns)

    def padded(self, rows: int, columns: int) -> tuple[int, int]:
        """(height, width) of the input that `apply` makes from a photo of this size."""
        crop = self.crop or (0, 0)
        return self._side(rows, crop[0]), self._side(columns, crop[1])

    def apply_caffe(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """As in Caffe's own TEST phase: padded to the crop, then cut to its centre.

        Returns:
            float32 [3, crop height, crop width] ([1, ...] if grey), and data_dim: (min(crop height, H),
            min(crop width, W)).
        """
        planes = self._planes(image)
        mean = tuple(mean for _, mean, _ in planes)
        transform = SegTransform("TEST", mean=mean, crop=self.crop)
        label = np.zeros(image.shape[:2], dtype=np.uint8)
        pixels = np.stack([plane for plane, _, _ in planes], axis=2)
        data, *_ = transform(pixels, label, np.random.default_rng(0))
        for target, (_, _, factor) in zip(data, planes, strict=True):
            target *= np.float32(factor)
        rows, columns = image.shape[:2]
        crop = self.crop or (rows, columns)
        return data, (min(crop[0], rows), min(crop[1], columns))

    def _planes(self, image: np.ndarray) -> list[tuple[np.ndarray, float, float]]:
        """Each channel of the input in order: its pixels uint8 [H, W], what to subtract, then the factor."""
        if self.channel_order == "grey":
            return [(luma(image), _mixed(self.mean_bgr), self.scale / _mixed(self.std_bgr))]
        order = (0, 1, 2) if self.channel_order == "bgr" else (2, 1, 0)
        return [
            (image[:, :, place], self.mean_bgr[place], self.scale / self.std_bgr[place]) for place in order
        ]

    def _side(self, side: int, crop: int) -> int:
        return crop if side <= crop else side + (self.offset - side) % self.stride


def luma(image: np.ndarray) -> np.ndarray:
    """A photo's grey, uint8 [H, W], by ITU-R 601 with Pillow's rounding; `image` is uint8 [H, W, 3] BGR."""
    mixed = image.astype(np.uint32) @ np.array(_GREY, np.uint32)
    return ((mixed + 0x8000) >> 16).astype(np.uint8)


def _mixed(values: tuple[float, float, float]) -> float:
    """The grey of three values, blue first."""
    return sum(weight * value for weight, value in zip(_GREY, values, strict=True)) / 65536
