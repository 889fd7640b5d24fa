"""How a photo is shown to a model: whole, in tiles, at several scales, mirrored, or at Caffe's crop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rlossctl.errors import UsageError


@dataclass(frozen=True)
class Crf:
    """Parameters of the dense CRF after a net, named as in the fork's DenseCRF layer.

    The defaults come from the commented-out DenseCRF layer in the rloss experiment's test prototxt of
    DeepLab-MSc-LargeFOV. The files of the other three nets have different values: DeepLab searched them for
    each net on a part of the training set.

    Attributes:
        iterations: number of mean-field iterations.
        pos_w, pos_xy_std: weight and standard deviation (pixels) of the position potential.
        bi_w, bi_xy_std, bi_rgb_std: weight and standard deviations (pixels, grey levels of 0..255) of the
            position and colour potential.
    """

    iterations: int = 10
    pos_w: float = 3.0
    pos_xy_std: float = 3.0
    bi_w: float = 4.0
    bi_xy_std: float = 83.0
    bi_rgb_std: float = 5.0

    def __post_init__(self) -> None:
        widths = (self.pos_xy_std, self.bi_xy_std, self.bi_rgb_std)
        numbers = (*widths, self.pos_w, self.bi_w)
        if self.iterations < 0 or min(widths) <= 0 or not all(math.isfinite(value) for value in numbers):
            raise UsageError(
                "impossible CRF parameters",
                found=self,
                expected="iterations of at least 0, standard deviations above 0, finite weights",
            )


@dataclass(frozen=True)
class Protocol:
    """How the class probabilities of a photo are computed; see docs/evaluation.md.

    Attributes:
        name: "whole" (the photo, padded to the crop), "tiles" (overlapping windows of the tile's size) or
            "caffe" (photo and label padded to the crop and cut to its centre, as in Caffe's TEST phase).
        tile: (height, width) of the windows; None takes the crop of the preprocessing.
        overlap: neighbouring tiles share at least this part of a tile, 0 to below 1.
        scales: resize the photo by each of these factors and average the probabilities.
        flip: also average with the mirrored photo.
        crf: the CRF applied to the averaged probabilities, or None.
        activation: turns scores into probabilities. Use "none" if the model gives probabilities; "auto" means
            none if the model says that it does, else softmax.
        temperature: divides the scores before the activation.
        batch: how many tiles or photos of one size go through the model at once.
        resize: (height, width) to which every photo is resized before anything else; the prediction comes
            back at the photo's size. None for photos of their own size.
        memory: bytes that the model's pass may use: larger photos run in tiles. None for what there is.

    Raises:
        UsageError: values are out of range or do not go together.
    """

    name: Literal["whole", "tiles", "caffe"] = "whole"
    tile: tuple[int, int] | None = None
    overlap: float = 1 / 3
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    crf: Crf | None = None
    activation: Literal["auto", "softmax", "sigmoid", "none"] = "auto"
    temperature: float = 1.0
    batch: int = 1
    resize: tuple[int, int] | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        sound = (
            self.name in ("whole", "tiles", "caffe")
            and self.activation in ("auto", "softmax", "sigmoid", "none")
            and 0 <= self.overlap < 1
            and (self.tile is None or min(self.tile) > 0)
            and self.scales
            and all(0 < scale <= 16 for scale in self.scales)
            and 0 < self.temperature < float("inf")
            and self.batch >= 1
            and (self.resize is None or min(self.resize) > 0)
            and (self.memory is None or self.memory > 0)
        )
        if not sound:
            raise UsageError(
                "this is not a valid evaluation protocol",
                found=self,
                expected="whole, tiles or caffe; overlap 0 to below 1; scales above 0 and up to 16; "
                "a positive temperature",
            )
        if self.tile is not None and self.name != "tiles":
            raise UsageError("--tile needs --protocol tiles", found=self.name, advice="add --protocol tiles")
        if self.memory is not None and self.name != "whole":
            raise UsageError("--memory needs --protocol whole", found=self.name, advice="use one of the two")
        if self.name == "caffe" and (self.scales != (1.0,) or self.flip or self.crf or self.resize):
            raise UsageError(
                "Caffe's protocol has one scale, no flip, no resizing and no CRF",
                advice="use --protocol whole or tiles for these options",
            )
        if self.activation == "none" and self.temperature != 1:
            raise UsageError(
                "a temperature divides scores, but the model gives probabilities",
                found=f"temperature {self.temperature:g}, activation none",
                advice="leave out --temperature",
            )

    @property
    def single(self) -> bool:
        """Whether each photo runs through the model once and as it is, so that nothing is averaged."""
        plain = self.scales == (1.0,) and not self.flip and self.crf is None and self.resize is None
        return plain and self.name != "tiles"


def tile_starts(length: int, tile: int, overlap: float) -> list[int]:
    """First rows (or columns) of the windows along one side, evenly spread; the last ends at the border.

    Args:
        length: the side's length; a side up to `tile` has one padded window.
        overlap: neighbours share at least this part of a tile.
    """
    if length <= tile:
        return [0]
    step = max(1, math.floor(tile * (1 - overlap)))
    steps = math.ceil((length - tile) / step)
    return [round(index * (length - tile) / steps) for index in range(steps + 1)]
