"""caffe.coord_map: how the coordinates of blobs of a NetSpec relate, and Crops that follow (coord_map.py).

A map takes a coordinate of one blob to scale * coordinate + shift of another, per axis behind `axis`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rlossctl.prototxt.coordinates import SAME_PLACE
from rlossctl.pycaffe.net_spec import Function, Top, layers

_WINDOWS = ("Convolution", "Pooling", "Im2col")
_SIDES = ("pad_h", "pad_w", "kernel_h", "kernel_w", "stride_h", "stride_w")


class UndefinedMapException(Exception):
    """The layer's tops have no coordinates in its bottoms."""


class AxisMismatchException(Exception):
    """Two maps begin at different axes."""


class Map(NamedTuple):
    """A map; `axis` is None for the identity, which fits all."""

    axis: int | None
    scale: Any
    shift: Any


IDENTITY = Map(None, 1, 0)


def coord_map(function: Function) -> Map:
    """The map from a layer's bottom to its top.

    Raises:
        UndefinedMapException: there is none.
        AssertionError: sizes are given per side, as kernel_h.
    """
    kind, params = function.type_name, function.params
    if kind in _WINDOWS or kind == "Deconvolution":
        axis, stride, extent, pad = _window(params)
        middle = (extent - 1) / 2 - pad
        return (
            Map(axis, stride, middle) if kind == "Deconvolution" else Map(axis, 1 / stride, -middle / stride)
        )
    if kind in SAME_PLACE:
        return IDENTITY
    if kind == "Crop":
        crop = params.get("crop_param", params)
        return Map(crop.get("axis", 2) - 1, 1, -_numbers(crop.get("offset", 0)))  # from the axis behind
    raise UndefinedMapException


def compose(base: Map, following: Map) -> Map:
    """The map that applies `following` first, then `base`.

    Raises:
        AxisMismatchException: they begin at different axes.
    """
    axes = {base.axis, following.axis} - {None}
    if len(axes) > 1:
        raise AxisMismatchException
    shift = base.scale * following.shift + base.shift
    return Map(next(iter(axes), None), base.scale * following.scale, shift)


def inverse(map_: Map) -> Map:
    """The inverse map."""
    return Map(map_.axis, 1 / map_.scale, -map_.shift / map_.scale)


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """The map from one blob to another, by way of a common ancestor.

    Raises:
        RuntimeError: they have none.
    """
    origins = _ancestors(top_from)
    for top, map_ in _ancestors(top_to).items():
        if top in origins:
            return compose(map_, inverse(origins[top]))
    raise RuntimeError("Could not compute map between tops; are they connected by spatial layers?")


def crop(top_from: Top, top_to: Top) -> Any:
    """A Crop that cuts the part of `top_to` out of `top_from`.

    Raises:
        RuntimeError: they are not related.
        AssertionError: the scales differ, or `top_to` reaches beyond `top_from`.
    """
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    scale, shift = _numbers(scale), _numbers(shift)
    assert (scale == 1).all(), f"scale mismatch on crop (a = {scale})"
    assert (shift <= 0).all(), f"cannot crop negative width (b = {shift})"
    assert (np.round(shift) == shift).all(), f"cannot crop noninteger width (b = {shift})"
    offset = [int(value) for value in -np.round(shift)]
    return layers.Crop(
        top_from, top_to, crop_param={"axis": 2 if axis is None else axis + 1, "offset": offset}
    )


def _ancestors(top: Top) -> dict[Top, Map]:
    """A blob and all blobs that it comes from, nearest first, with the maps from them to it."""
    found, queue = {top: IDENTITY}, [top]
    for one in queue:
        try:
            map_ = compose(found[one], coord_map(one.fn))
        except UndefinedMapException:
            continue
        # A Crop is a part of its first bottom; the second only gives a size.
        for bottom in one.fn.inputs[:1] if one.fn.type_name == "Crop" else one.fn.inputs:
            if bottom not in found:
                found[bottom] = map_
                queue.append(bottom)
    return found


def _window(params: Any) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Axis, stride, extent of the window, and padding."""
    given = params.get("convolution_param", params)
    assert not set(_SIDES) & set(params), "cropping does not support legacy _h/_w params"
    dilation = _numbers(given.get("dilation", 1))
    extent = (_numbers(given["kernel_size"]) - 1) * dilation + 1
    return given.get("axis", 1), _numbers(given.get("stride", 1)), extent, _numbers(given.get("pad", 0))


def _numbers(value: Any) -> np.ndarray:
    return np.array(value, ndmin=1, dtype=float)
