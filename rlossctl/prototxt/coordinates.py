"""Where a Crop without an offset crops: Caffe's FCN, HED and CRF-as-RNN branches take it from coordinates.

A window layer maps row t of its top to row r = step * t + start of its bottom. The maps of successive layers
are composed; two blobs with a common ancestor are related by one map and the inverse of the other. This is
what crop_layer.cpp and DiagonalAffineMap of those branches do, and BVLC's python/caffe/coord_map.py when it
writes an offset into a prototxt. Here the maps are exact fractions and need only the messages, no shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlossctl.prototxt.messages import (
        ConvolutionParameter,
        LayerParameter,
        NetParameter,
        PoolingParameter,
    )

DIALECT = "fcn"
AUTO_CROP = "AutoCrop"  # RCF's name for the old Crop, beside BVLC's Crop
_CROPS = ("Crop", AUTO_CROP)

# Types whose tops have the same coordinates as their bottoms.
SAME_PLACE = frozenset(
    (
        "AbsVal",
        "Axpy",
        "BN",
        "BNLL",
        "BatchNorm",
        "Bias",
        "Clip",
        "Concat",
        "Dropout",
        "ELU",
        "Eltwise",
        "Exp",
        "LRN",
        "Log",
        "MVN",
        "Normalize",
        "PReLU",
        "Power",
        "ReLU",
        "ReLU6",
        "SELU",
        "Scale",
        "SeLU",
        "SeLu",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Swish",
        "TanH",
        "Threshold",
    )
)


@dataclass(frozen=True)
class Map:
    """r = step * t + start, from row t of one blob to row r of another."""

    step: Fraction = Fraction(1)
    start: Fraction = Fraction(0)

    def after(self, other: Map) -> Map:
        """The map that applies `other` first."""
        return Map(self.step * other.step, self.step * other.start + self.start)

    def inverse(self) -> Map:
        """The inverse map."""
        return Map(1 / self.step, -self.start / self.step)


Maps = tuple[Map, Map]  # rows, columns
HERE: Maps = (Map(), Map())


class Unrelated(ValueError):
    """Two blobs are not related by a map; the text says why."""


@dataclass(frozen=True, eq=False)
class _Value:
    """A blob's value after a layer: the values from which it was computed, and its maps to them."""

    name: str
    sources: tuple[_Value, ...] = ()
    maps: Maps = HERE


class Places:
    """The maps between the blobs of a net, collected layer by layer."""

    def __init__(self) -> None:
        self._values: dict[str, _Value] = {}

    def add(self, layer: LayerParameter, offset: tuple[int, int] | None = None) -> None:
        """Adds a layer, a Crop with its offset. Tops without coordinates in the bottoms start afresh."""
        maps = places(layer) if offset is None else _cropped(offset)
        # A Crop is a part of its first bottom; the second only gives a size.
        bottoms = layer.bottom[:1] if layer.type in _CROPS else layer.bottom
        sources = () if maps is None else tuple(self._value(bottom) for bottom in bottoms)
        self._values.update({top: _Value(top, sources, maps or HERE) for top in layer.top})

    def offset(self, blob: str, reference: str) -> tuple[int, int]:
        """The row and column of `blob` at which `reference` begins.

        Raises:
            Unrelated: no common ancestor, a coarser grid, or a position before the first row.
        """
        mine, others = _ancestors(self._value(blob)), _ancestors(self._value(reference))
        common = next((value for value in mine if value in others), None)
        if common is None:
            raise Unrelated(f"{blob!r} and {reference!r} come from different blobs")
        rows, columns = (a.inverse().after(b) for a, b in zip(mine[common], others[common], strict=True))
        if rows.step != 1 or columns.step != 1:
            raise Unrelated(f"{blob!r} has {float(rows.step):g} rows for each of {reference!r}")
        row, column = _rounded(rows.start), _rounded(columns.start)
        if row < 0 or column < 0:
            raise Unrelated(f"{reference!r} begins before {blob!r}, at ({row}, {column})")
        return row, column

    def _value(self, blob: str) -> _Value:
        return self._values.setdefault(blob, _Value(blob))


def _ancestors(value: _Value) -> dict[_Value, Maps]:
    """A value and all its ancestors, nearest first, with its maps to each; the first path counts."""
    found, queue = {value: HERE}, [value]
    for one in queue:
        for source in one.sources:
            if source not in found:
                found[source] = _chain(one.maps, found[one])
                queue.append(source)
    return found


def resolved(net: NetParameter, dialect: str) -> tuple[NetParameter, tuple[str, ...]]:
    """A net whose Crops have their offsets, and sentences on what was done; the argument is not changed.

    An offset is filled in for AutoCrop, if crop_param has by_coordinates, and in the dialect fcn if there is
    no crop_param. A note names each Crop that keeps Caffe's 0 although its coordinates say something else.
    """
    if not any(_is_open(layer) for layer in net.layer):
        return net, ()
    places_of = Places()
    found: list[tuple[int, tuple[int, int]]] = []
    kept: list[str] = []
    for number, layer in enumerate(net.layer):
        offset = _offset(layer, places_of)
        follows = offset is not None and _follows(layer, dialect)
        if offset is not None and follows:
            found.append((number, offset))
        elif offset is not None and any(offset) and not layer.HasField("crop_param"):
            kept.append(_told(layer, offset))
        places_of.add(layer, offset if follows else None)
    notes = [
        f"Crop without an offset: 0, as in BVLC; the FCN and HED branches take {_list(kept)} (--dialect fcn)"
    ] * bool(kept)
    if not found:
        return net, tuple(notes)
    out = type(net)()
    out.CopyFrom(net)
    told = []
    for number, offset in found:
        param = out.layer[number].crop_param
        param.ClearField("by_coordinates")
        param.offset[:] = offset
        told.append(_told(out.layer[number], offset))
    notes.append(f"Crop without an offset, as in the FCN and HED branches: {_list(told)}, from coordinates")
    return out, tuple(notes)


def places(layer: LayerParameter) -> Maps | None:
    """The maps from a layer's tops to its bottoms; None if its tops have no coordinates in them."""
    if layer.type in SAME_PLACE:
        return HERE
    if layer.type in ("Convolution", "ConvolutionDepthwise", "DepthwiseConvolution", "Im2col"):
        return _windows(layer.convolution_param)
    if layer.type == "Deconvolution":
        rows, columns = _windows(layer.convolution_param)
        return rows.inverse(), columns.inverse()
    if layer.type == "Pooling" and not layer.pooling_param.global_pooling:
        return _pooling(layer.pooling_param)
    if layer.type in _CROPS and layer.crop_param.axis in (2, -2):
        offset = list(layer.crop_param.offset) or [0]
        return _cropped((offset[0], offset[-1]))
    return None


def _cropped(offset: tuple[int, int]) -> Maps:
    return Map(start=Fraction(offset[0])), Map(start=Fraction(offset[1]))


def _is_open(layer: LayerParameter) -> bool:
    """Whether a layer is a Crop without an offset."""
    return layer.type in _CROPS and len(layer.bottom) == 2 and not layer.crop_param.offset


def _offset(layer: LayerParameter, known: Places) -> tuple[int, int] | None:
    if not _is_open(layer):
        return None
    try:
        return known.offset(layer.bottom[0], layer.bottom[1])
    except Unrelated:
        return None


def _follows(layer: LayerParameter, dialect: str) -> bool:
    if layer.type == AUTO_CROP or layer.crop_param.by_coordinates:
        return True
    return dialect == DIALECT and not layer.HasField("crop_param")


def _told(layer: LayerParameter, offset: tuple[int, int]) -> str:
    row, column = offset
    return f"{row if row == column else f'{row}, {column}'} for {layer.bottom[0]!r}"


def _list(places: list[str]) -> str:
    return ", ".join(places[:6]) + (f" and {len(places) - 6} more" if len(places) > 6 else "")


def _windows(param: ConvolutionParameter) -> Maps:
    kernel = _pair(param.kernel_size, param.kernel_h, param.kernel_w, 1)
    stride = _pair(param.stride, param.stride_h, param.stride_w, 1)
    pad = _pair(param.pad, param.pad_h, param.pad_w, 0)
    hole = (param.hole_h, param.hole_w) if param.hole == 1 else (param.hole, param.hole)
    dilation = _pair(param.dilation, *hole, 1)
    extents = [space * (size - 1) + 1 for space, size in zip(dilation, kernel, strict=True)]
    return _window(extents[0], stride[0], pad[0]), _window(extents[1], stride[1], pad[1])


def _pooling(param: PoolingParameter) -> Maps:
    rows = _window(
        param.kernel_h or param.kernel_size, param.stride_h or param.stride, param.pad_h or param.pad
    )
    columns = _window(
        param.kernel_w or param.kernel_size, param.stride_w or param.stride, param.pad_w or param.pad
    )
    return rows, columns


def _window(extent: int, stride: int, pad: int) -> Map:
    """The map from the top of a window layer to its bottom: the middle of window t."""
    return Map(Fraction(max(stride, 1)), Fraction(extent - 1, 2) - pad)


def _pair(both: Sequence[int], rows: int, columns: int, default: int) -> tuple[int, int]:
    values = list(both)
    if values:
        return values[0], values[-1]
    return rows or default, columns or default


def _chain(maps: Maps, own: Maps) -> Maps:
    return maps[0].after(own[0]), maps[1].after(own[1])


def _rounded(value: Fraction) -> int:
    """Rounds to the nearest integer, halves away from zero, as C's round does."""
    whole = int(abs(value) + Fraction(1, 2))
    return whole if value >= 0 else -whole
