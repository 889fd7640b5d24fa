"""What can be asked of an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rlossctl.converters.verifying.comparison import TOLERANCE
from rlossctl.data.modelcard import Head
from rlossctl.errors import UsageError

Precision = Literal["fp32", "fp16", "int8"]
Activations = Literal["uint8", "int8"]
Ranges = Literal["minmax", "percentile", "entropy"]


@dataclass(frozen=True)
class OnnxOptions:
    """How an ONNX file is made.

    Attributes:
        fold: BatchNorm, Scale, Bias and BN are folded into the linear layers before them.
        head: what the model returns; None: scores, or label maps with the preprocessing inside.
        upsample: scores are brought to the input's size, corners aligned.
        preprocessing: photos in, of any size: uint8 [N, H, W, 3], red first; out comes their own size.
        mean, scale, rgb: how photos become the net's input, in place of what its data layer says (mean: blue,
            green, red; rgb: the net takes red first).
        precision: of weights and arithmetic; inputs and outputs stay as they are.
        calibrate: list of images whose ranges int8 is made for.
        ranges: how int8 takes a blob's range from their values: all of it, all but the outermost 0.001 % on
            both sides, or what loses least information.
        activations: what int8 makes of blobs' values. ONNX Runtime multiplies uint8 fastest on x86; on CPUs
            without VNNI its sums may saturate.
        keep: names or patterns (`conv1_*`) of layers that int8 leaves in float32.
        verify: whether the file is compared with the net.
        tolerance: largest difference to the net that is accepted, as a share of the blob's largest magnitude.
        verify_images: list of images to compare on, besides random ones.
        root: folder of the names in both lists.

    Raises:
        UsageError: options that do not go together.
    """

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
    verify: bool = True
    tolerance: float = TOLERANCE
    verify_images: str | None = None
    root: str = ""

    def __post_init__(self) -> None:
        if self.precision == "int8":
            self.require_calibrate()
        for option, given in (
            ("--calibrate", self.calibrate),
            ("--int8-ranges", self.ranges != "minmax"),
            ("--int8-activations", self.activations != "uint8"),
            ("--int8-keep", self.keep),
        ):
            if given and self.precision != "int8":
                raise UsageError(f"{option} is for int8", found=self.precision, advice="add --precision int8")
        if self.verify_images and not self.verify:
            raise UsageError("--verify-images and --no-verify exclude each other")

    def require_calibrate(self) -> str:
        """The list of images that int8 needs.

        Raises:
            UsageError: there is none.
        """
        if not self.calibrate:
            raise UsageError(
                "int8 needs images to see how large the blobs' values are",
                expected="a list of images like those that the model will meet, 100 or more",
                advice="add --calibrate LIST --root DIR",
            )
        return self.calibrate

    @property
    def none(self) -> bool:
        """Whether nothing is asked for that only an ONNX file can give."""
        return replace(self, root="") == OnnxOptions()

    @property
    def has_ends(self) -> bool:
        """Whether anything is put before or behind the net."""
        return self.preprocessing or self.upsample or self.head not in (None, "scores")
