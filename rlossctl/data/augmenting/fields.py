"""Reading the fields of transform_param that are not Caffe's."""

from __future__ import annotations

import math
from typing import NamedTuple

from rlossctl.data.augmenting.colour import Colour
from rlossctl.data.augmenting.geometry import Geometry
from rlossctl.data.augmenting.transform import AugmentingTransform
from rlossctl.data.seg_transform import SegTransform, own_fields
from rlossctl.errors import DataError
from rlossctl.prototxt.messages import TransformationParameter

_PLAIN = ("std_value",)  # does not move or colour anything


class _Range(NamedTuple):
    least: float
    most: float
    open: bool  # whether the ends are excluded
    text: str


_ABOVE = _Range(0, 100, True, "above 0 and below 100")
_SHARE = _Range(0, 1, False, "0 to 1")
_RANGES = {
    "scale_min": _ABOVE,
    "scale_max": _ABOVE,
    "rotate": _Range(0, 180, False, "0 to 180 degrees"),
    "perspective": _Range(-math.inf, 0.5, True, "0 to 0.5, which itself would fold the crop"),
    "blur_sigma": _Range(0, 100, False, "0 to 100 pixels"),
    "blur_probability": _SHARE,
    "brightness": _Range(0, 10, False, "0 to 10"),
    "contrast": _Range(0, 10, False, "0 to 10"),
    "saturation": _Range(0, 10, False, "0 to 10"),
    "hue": _Range(0, 0.5, False, "0 to 0.5 of a circle"),
}


def augments(param: TransformationParameter) -> bool:
    """Whether photos are to be warped, and do not go Caffe's way."""
    return any(name not in _PLAIN for name in own_fields(param))


def read_transform(
    param: TransformationParameter, plain: SegTransform, where: object = None
) -> AugmentingTransform:
    """The transformation of a TransformationParameter, whose Caffe's fields are `plain`.

    Raises:
        DataError: values out of range or fields that do not go together.
    """
    _check(param, plain, where)
    geometry = Geometry(
        random=plain.phase == "TRAIN",
        mirror=plain.mirror,
        crop=plain.crop,
        factors=plain.scale_factors,
        scale=(param.scale_min, param.scale_max),
        window=param.scale_law == TransformationParameter.WINDOW,
        base_size=param.base_size,
        base_long=param.base_side == TransformationParameter.LONG,
        rotate=param.rotate,
        perspective=param.perspective,
    )
    colour = Colour(
        param.brightness,
        param.contrast,
        param.saturation,
        param.hue,
        param.blur_sigma,
        param.blur_probability,
    )
    return AugmentingTransform(plain, geometry, colour, param.antialias, tuple(param.fill_value))


def _check(param: TransformationParameter, plain: SegTransform, where: object) -> None:
    for name, (least, most, exclusive, text) in _RANGES.items():
        value = getattr(param, name)
        if not (least < value < most if exclusive else least <= value <= most) or value < 0:
            raise _error("a value is out of range", f"{name}: {value:g}", text, where)
    if any(not 0 <= value <= 255 for value in param.fill_value) or len(param.fill_value) not in (0, 1, 3):
        found = ", ".join(f"fill_value: {value:g}" for value in param.fill_value)
        raise _error("impossible padding", found, "one or three values (blue, green, red) of 0 to 255", where)
    for name, needed, wrong in _dependencies(param, plain):
        if wrong:
            raise _error("two fields do not go together", name, needed, where)


def _dependencies(param: TransformationParameter, plain: SegTransform) -> list[tuple[str, str, bool]]:
    """What was found, what was expected, and whether that is a fault."""
    low, high = param.scale_min, param.scale_max
    ranged = param.HasField("scale_min") or param.HasField("scale_max")
    varies = plain.phase == "TRAIN" and (low < high or len(plain.scale_factors) > 1)
    return [
        (f"scale_min {low:g}, scale_max {high:g}", "scale_min of at most scale_max", low > high),
        (
            "scale_factors beside scale_min or scale_max",
            "factors to choose from, or the ends of a range",
            bool(plain.scale_factors) and ranged,
        ),
        ("scale_law without a range", "scale_min and scale_max", param.HasField("scale_law") and not ranged),
        ("base_side without base_size", "base_size", param.HasField("base_side") and not param.base_size),
        (
            "blur_probability without blur_sigma",
            "blur_sigma",
            param.HasField("blur_probability") and not param.blur_sigma,
        ),
        ("random scales without a crop", "crop_size, as a batch has one size", varies and plain.crop is None),
    ]


def _error(message: str, found: str, expected: str, where: object) -> DataError:
    return DataError(
        message, where=where, found=found, expected=expected, advice="correct the fields of transform_param"
    )
