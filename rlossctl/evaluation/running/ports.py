"""How images enter an ONNX model of any origin, and how its output is read: types, axes, batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlossctl.errors import NetError, UsageError

FLOATS: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
_BYTES: dict[str, type[np.generic]] = {
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
_IDS = (*(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64)), "tensor(bool)")


@dataclass(frozen=True)
class ImagePort:
    """The input of an image.

    Attributes:
        name: the input's name.
        dtype: the type of its values.
        channels: 3 or 1.
        last: whether channels are the last axis.
        batched: whether the first axis counts images; without it, the model takes one image.
        batch: the only number of images that it takes, or None for any.
        size: (height, width), None for a side that may vary.
    """

    name: str
    dtype: type[np.generic]
    channels: int = 3
    last: bool = False
    batched: bool = True
    batch: int | None = None
    size: tuple[int | None, int | None] = (None, None)

    @property
    def raw(self) -> bool:
        """Whether the values are whole numbers."""
        return not issubclass(self.dtype, np.floating)

    @property
    def plain(self) -> bool:
        """Whether prepared images, float32 [N, 3, H, W], go in as they are."""
        return self.dtype is np.float32 and not self.last and self.batched and self.batch is None

    @property
    def at_once(self) -> int | None:
        """The only number of images that the model takes, or None."""
        return self.batch if self.batched else 1

    def fed(self, images: np.ndarray) -> np.ndarray:
        """Prepared images, float32 [N, C, H, W], in the input's own form; N fits `at_once`."""
        data = images.transpose(0, 2, 3, 1) if self.last else images
        data = data if self.batched else data[0]
        rounded = np.rint(data) if self.raw and data.dtype.kind == "f" else data
        return np.ascontiguousarray(rounded, self.dtype)

    def shape(self, count: int, height: int, width: int) -> tuple[int, ...]:
        """The input's shape for `count` images of this size."""
        sizes = (height, width, self.channels) if self.last else (self.channels, height, width)
        return (count, *sizes) if self.batched else sizes


@dataclass(frozen=True)
class ScorePort:
    """The output that is read.

    Attributes:
        name: the output's name.
        axes: a letter for each axis: n for images, c for classes, h and w.
        ids: whether it holds class ids instead of scores.
    """

    name: str
    axes: str = "nchw"
    ids: bool = False

    def read(self, values: np.ndarray) -> np.ndarray:
        """The answer as float32 [N, C, h, w], or class ids [N, h, w]."""
        for place, letter in enumerate("nchw"):
            if letter not in self.axes:
                values = np.expand_dims(values, place)
        present = [letter for letter in "nchw" if letter not in self.axes]
        rest = iter(self.axes)
        order = "".join(letter if letter in present else next(rest) for letter in "nchw")
        values = values.transpose([order.index(letter) for letter in "nchw"])
        return values[:, 0] if self.ids else np.ascontiguousarray(values, np.float32)

    def channels(self, shape: Sequence[Any]) -> Any:
        """The number of score channels in the output's shape, 1 if it has no such axis."""
        return shape[self.axes.index("c")] if "c" in self.axes else 1


def image_port(inputs: Sequence[Any], name: str | None, last: frozenset[str], path: Path) -> ImagePort:
    """The image's input among a session's.

    Args:
        name: the one to take, or None if there is one only.
        last: inputs whose channels the graph moves to the front.

    Raises:
        NetError: there are several, or none that takes images of 1 or 3 channels.
    """
    chosen = [entry for entry in inputs if entry.name == name] or list(inputs)
    entry = chosen[0] if chosen else None
    kind = None if entry is None else {**FLOATS, **_BYTES}.get(entry.type)
    layout = None if entry is None else _layout(entry.shape, entry.name in last)
    if entry is None or len(chosen) > 1 or kind is None or layout is None:
        raise NetError(
            "a segmentation net does not have such inputs",
            where=path,
            found=described(inputs),
            expected="one image [N, 3, H, W] or [N, H, W, 3] (or one channel), of floats or bytes",
            advice="export the model with the image as its only input",
        )
    channels_last, channels, batched = layout
    sizes = [size if isinstance(size, int) and size > 0 else None for size in entry.shape]
    first = 1 if batched else 0
    height, width = sizes[first : first + 2] if channels_last else sizes[first + 1 : first + 3]
    batch = sizes[0] if batched else None
    return ImagePort(entry.name, kind, channels, channels_last, batched, batch, (height, width))


def _layout(shape: Sequence[Any], last: bool) -> tuple[bool, int, bool] | None:
    """(channels last, channels, batched) of an image of this shape, or None if it cannot be one."""
    if len(shape) not in (3, 4):
        return None
    front, back = len(shape) - 3, len(shape) - 1
    for channels in (3, 1):
        for place in (front, back):
            if shape[place] == channels:
                return place == back, channels, front == 1
    open_axes = [not isinstance(shape[place], int) for place in (front, back)]
    return (last, 3, front == 1) if open_axes[1 if last else 0] else None


@dataclass(frozen=True)
class Seen:
    """What an output looked like, in the file or in a trial.

    Attributes:
        image: (height, width) of the image, None where it is unknown.
        shapes: each output's shape by name; names stand for sizes that are unknown.
    """

    image: tuple[int | None, int | None]
    shapes: dict[str, Sequence[Any]]


def score_axes(shape: Sequence[Any], seen: Seen, port: ImagePort, ids: bool) -> str | None:
    """The axes of an output that may be a map of scores or class ids; None if it cannot be one."""
    for axes in _orders(len(shape), port, ids):
        if ids and "c" in axes and shape[axes.index("c")] != 1:
            continue
        channels = shape[axes.index("c")] if "c" in axes else 1
        sides = [shape[axes.index(letter)] for letter in "hw"]
        if isinstance(channels, int) and _alike(sides, seen.image):
            return axes
    return None


def _orders(rank: int, port: ImagePort, ids: bool) -> tuple[str, ...]:
    """The orders of axes to consider, the likeliest first."""
    layouts = ("nhwc", "nchw") if port.last else ("nchw", "nhwc")
    alone = tuple(axes[1:] for axes in layouts)
    if rank == 4:
        return layouts
    if rank == 3:
        return ("nhw", *alone) if port.batched and (ids or port.batch != 1) else (*alone, "nhw")
    return ("hw",) if rank == 2 and port.at_once == 1 else ()


def _alike(sides: Sequence[Any], image: tuple[int | None, int | None]) -> bool:
    """Whether sides (in pixels, or names) may be those of a map of an image of this size."""
    if not all(isinstance(side, int) for side in sides) or None in image:
        # A fixed side beside a free one is the number of classes, not a side.
        return [isinstance(side, int) for side in sides] == [side is not None for side in image]
    height, width = image
    assert height is not None and width is not None
    return abs(sides[0] * width - sides[1] * height) <= 2 * max(height, width)


def score_port(
    outputs: Sequence[Any], wanted: str | None, axes: dict[str, str], ids: frozenset[str], path: Path
) -> ScorePort:
    """The output to read.

    Args:
        wanted: its name or number, from 0; None if only one fits.
        axes: of each output that may be a map, by name.
        ids: the outputs that hold class ids.

    Raises:
        NetError: no output is a map, or several are and none was chosen.
        UsageError: the wanted one does not exist, or is not a map.
    """
    names = [entry.name for entry in outputs]
    if wanted is not None:
        name = wanted if wanted in names else dict(enumerate(names)).get(_number(wanted), "")
        if name not in axes:
            raise UsageError(
                f"the model has no output {wanted!r}" if not name else f"the output {name!r} is not a map",
                where=path,
                found=described(outputs),
                expected="class scores [N, C, h, w] or class ids [N, h, w]",
                advice=f"--output {' or '.join(axes) or 'NAME'}",
            )
        return ScorePort(name, axes[name], name in ids)
    if len(axes) != 1:
        raise NetError(
            "several outputs may be the prediction"
            if axes
            else "a segmentation net does not have such outputs",
            where=path,
            found=described(outputs),
            expected="one output of class scores [N, C, h, w] or class ids [N, h, w]",
            advice=f"choose one with --output NAME or its number: {', '.join(axes)}"
            if axes
            else "export the model with its map of scores or classes as an output",
        )
    ((name, found),) = axes.items()
    return ScorePort(name, found, name in ids)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def described(entries: Sequence[Any]) -> str:
    """Inputs or outputs of a session with their numbers, types and shapes."""
    return ", ".join(
        f"{place}: {entry.name} {entry.type}{entry.shape}" for place, entry in enumerate(entries)
    )


def holds_ids(kind: str) -> bool:
    """Whether values of ONNX Runtime's type `kind` can only be class ids."""
    return kind in _IDS
