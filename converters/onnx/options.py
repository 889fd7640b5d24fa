"""The options for an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rlossctl.data.modelcard import Head
from rlossctl.errors import UsageError

Precision = Literal["fp32", "fp16", "int8"]
Activations = Literal["uint8", "int8", "uint16"]
Ranges = Literal["minmax", "percentile", "entropy"]


@dataclass(frozen=True)
class OnnxOptions:
    """How to make an ONNX file.

    Attributes:
        start: the blob that the model takes instead of the image: the layers before it are cut off.
        fold: fold BatchNorm, Scale, Bias and BN into the linear layers before them.
        head: what the model returns; None means scores, or label maps with the preprocessing inside.
        upsample: resize scores to the input's size, with corners aligned.
        preprocessing: take photos of any size, uint8 [N, H, W, 3], red first; the output has the same size.
        mean, scale, rgb: how photos become the net's input; replace the data layer's settings (mean: blue,
            green, red; rgb: the net takes red first).
        precision: precision of weights and arithmetic; inputs and outputs do not change.
        calibrate: list of images that give the ranges for int8.
        ranges: how int8 chooses a blob's range from its values: all values, all but the outermost 0.001 % on
            either side, or the range that loses the least information.
        activations: the type of the blobs' values in int8. ONNX Runtime multiplies uint8 fastest on x86; on
            CPUs without VNNI, its sums may saturate. It computes in float32 where they are uint16.
        keep: names or patterns (`conv1_*`) of layers that int8 leaves in float32.
        auto: the largest loss to accept from int8, in points of mIoU (without labels: percent of the pixels
            whose label changes); as many layers as this takes stay in float32, the noisiest first.
        verify: compare the file with the net.
        tolerance: the largest difference from the net to accept, as a share of the blob's largest magnitude;
            None for `comparison.TOLERANCE`.
        verify_images: list of images for the comparison, besides random ones.
        card: a new folder for the model with what belongs to it: weights, README, preprocessing.
        root: root folder of both lists.

    Raises:
        UsageError: options do not go together.
    """

    start: str | None = None
    fold: bool = False
    head: Head | None = None
    upsample: bool = False
    preprocessing: bool = False
    mean: tuple[float, float, float] | None = None
    scale: float | None = None
    rgb: bool = False
    precision: Precision = "fp32"
    calibrate: str | None = None
    ranges: Ranges = "minmax"
    activations: Activations = "uint8"
    keep: tuple[str, ...] = ()
    auto: float | None = None
    verify: bool = True
    tolerance: float | None = None
    verify_images: str | None = None
    card: Path | None = None
    root: str = ""

    def __post_init__(self) -> None:
        if self.precision == "int8":
            self.require_calibrate()
        for option, given in (
            ("--calibrate", self.calibrate),
            ("--int8-ranges", self.ranges != "minmax"),
            ("--int8-activations", self.activations != "uint8"),
            ("--int8-keep", self.keep),
            ("--int8-auto", self.auto is not None),
        ):
            if given and self.precision != "int8":
                raise UsageError(f"{option} is for int8", found=self.precision, advice="add --precision int8")
        if self.verify_images and not self.verify:
            raise UsageError("--verify-images and --no-verify contradict each other")

    def require_calibrate(self) -> str:
        """The list of images that int8 needs.

        Raises:
            UsageError: the list is missing.
        """
        if not self.calibrate:
            raise UsageError(
                "int8 needs images to find the ranges of the blobs' values",
                expected="a list of 100 or more images like those that the model will see in use",
                advice="add --calibrate LIST --root DIR",
            )
        return self.calibrate

    @property
    def none(self) -> bool:
        """Whether no option is set that only an ONNX file supports."""
        return replace(self, root="") == OnnxOptions()

    @property
    def has_ends(self) -> bool:
        """Whether anything is added before or after the net."""
        return self.preprocessing or self.upsample or self.head not in (None, "scores")
