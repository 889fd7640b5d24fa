"""How a photo becomes a net's input. Converters write this into a model file; evaluation applies it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlossctl.data.seg_transform import SegTransform, read_crop, read_mean
from rlossctl.errors import DataError

if TYPE_CHECKING:
    from rlossctl.prototxt.messages import LayerParameter

_RANDOM_CROPS = ("DenseImageData", "ImageLabelmapData")


@dataclass(frozen=True)
class Preprocess:
    """(pixel - mean) * scale, channel order and size rule of a net's input.

    Attributes:
        mean_bgr: subtracted from each channel; always blue first, in units of 0..255.
        scale: factor applied after the subtraction.
        channel_order: of the net's input, "bgr" as in Caffe or "rgb".
        crop: (height, width) to which smaller images are padded, or None.
        stride, offset: a side longer than the crop (without a crop, any side) is padded to the next
            stride * k + offset; nets that align corners use 8 and 1, for example.
    """

    mean_bgr: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    channel_order: Literal["bgr", "rgb"] = "bgr"
    crop: tuple[int, int] | None = None
    stride: int = 1
    offset: int = 0

    def __post_init__(self) -> None:
        sound = (
            self.channel_order in ("bgr", "rgb")
            and len(self.mean_bgr) == 3
            and all(map(math.isfinite, (*self.mean_bgr, self.scale)))
            and self.scale != 0
            and (self.crop is None or min(self.crop) >= 1)
            and self.stride >= 1
        )
        if not sound:
            raise DataError(
                "impossible preprocessing",
                found=f"mean {self.mean_bgr}, scale {self.scale}, order {self.channel_order!r}, "
                f"crop {self.crop}, stride {self.stride}",
                expected="three mean values (blue, green, red), a scale other than 0, order bgr or rgb, "
                "a crop of at least one pixel, stride of at least 1",
                advice="correct the override, or convert the model again",
            )

    @classmethod
    def from_layer(cls, layer: LayerParameter, *, stride: int = 1, offset: int = 0) -> Preprocess:
        """Reads the transform_param of a data layer's message.

        Caffe's data layers give BGR. A single mean value applies to all three channels. DenseImageData and
        ImageLabelmapData crop at random or not at all and never pad, so their crop is ignored and whole
        photos are predicted.

        Raises:
            DataError: mean_file, a wrong number of mean values, or only one side of the crop.
        """
        where = f"layer {layer.name!r}"
        mean = read_mean(layer.transform_param, where) or (0.0,)
        blue, green, red = mean if len(mean) == 3 else mean * 3
        return cls(
            mean_bgr=(blue, green, red),
            scale=float(layer.transform_param.scale),
            crop=None if layer.type in _RANDOM_CROPS else read_crop(layer.transform_param, where),
            stride=stride,
            offset=offset,
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
            for key in ("mean_bgr", "crop"):
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
            float32 [3, h, w], and (H, W), the part of the result that holds the photo.
        """
        rows, columns = image.shape[:2]
        crop = self.crop or (0, 0)
        size = self._side(rows, crop[0]), self._side(columns, crop[1])
        out = np.zeros((3, *size), np.float32)
        # Channel by channel: the writes are contiguous, which takes a third of the time.
        for channel, mean in enumerate(np.asarray(self.mean_bgr, dtype=np.float32)):
            part = out[channel if self.channel_order == "bgr" else 2 - channel, :rows, :columns]
            np.subtract(image[:, :, channel], mean, out=part, dtype=np.float32)
            if self.scale != 1:
                part *= np.float32(self.scale)
        return out, (rows, columns)

    def apply_caffe(self, image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        """As in Caffe's own TEST phase: padded to the crop, then cut to its centre.

        Returns:
            float32 [3, crop height, crop width], and data_dim: (min(crop height, H), min(crop width, W)).
        """
        transform = SegTransform("TEST", mean=self.mean_bgr, scale=self.scale, crop=self.crop)
        label = np.zeros(image.shape[:2], dtype=np.uint8)
        data, _ = transform(image, label, np.random.default_rng(0))
        rows, columns = image.shape[:2]
        crop = self.crop or (rows, columns)
        return self._order(data), (min(crop[0], rows), min(crop[1], columns))

    def _side(self, side: int, crop: int) -> int:
        return crop if side <= crop else side + (self.offset - side) % self.stride

    def _order(self, data: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(data if self.channel_order == "bgr" else data[::-1])
