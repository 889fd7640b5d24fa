"""The source behind WindowData: R-CNN's labelled windows of images, warped to a square."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from rlossctl.data.bvlc_transform import Transformer
from rlossctl.data.images import read_image
from rlossctl.data.lists import join_root
from rlossctl.data.resize import resize_bilinear
from rlossctl.data.sources.stream import Item, Source, StreamOptions
from rlossctl.errors import DataError
from rlossctl.files import read_listing

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from rlossctl.prototxt.messages import LayerParameter

Box = tuple[int, int, int, int]  # x1, y1, x2, y2, all inclusive


@dataclass(frozen=True)
class Window:
    """A box of an image with its class (0: background) and its overlap with an object."""

    image: str
    label: int
    overlap: float
    box: Box


class Warp(NamedTuple):
    """Where a window is cut out, the size to which it is warped, and its place in the square."""

    box: Box
    height: int
    width: int
    top: int
    left: int


def read_windows(path: str | os.PathLike[str], root: str = "") -> list[Window]:
    """Reads `# index`, name, channels, height, width, count, and count lines `class overlap x1 y1 x2 y2`.

    Raises:
        DataError: the file is missing, empty or not in this form; names the line.
    """
    try:
        text = read_listing(path)
    except OSError as error:
        raise DataError(
            "the window file cannot be read",
            where=path,
            found=error.strerror or str(error),
            expected="a text file as written by R-CNN's selective search scripts",
            advice="correct window_data_param.source",
        ) from error
    tokens = _Tokens(path, text)
    windows: list[Window] = []
    images = 0
    while tokens.expect_image(images):
        name = join_root(root, tokens.next(str, "an image's name"))
        for what in ("channels", "height", "width"):
            tokens.next(int, what)
        for _ in range(tokens.next(int, "the number of windows")):
            label = tokens.next(int, "a class")
            overlap = float(np.float32(tokens.next(float, "an overlap")))  # compared as Caffe does
            box = tuple(tokens.next(int, what) for what in ("x1", "y1", "x2", "y2"))
            if box[0] > box[2] or box[1] > box[3]:
                tokens.fail("x1 y1 x2 y2 of " + " ".join(map(str, box)), "x1 <= x2 and y1 <= y2")
            windows.append(Window(name, label, overlap, box))
        images += 1
    return windows


class WindowSource(Source):
    """Draws batches as WindowData does (window_data_layer.cpp).

    Windows that overlap an object by at least fg_threshold are foreground; those below bg_threshold are
    background with label 0. The first batch_size - int(batch_size * fg_fraction) samples of a batch are
    drawn from the background, the others from the foreground, each at random. A window is cut out with
    context_pad pixels around it (counted after the warp), as a square if crop_mode is "square", and
    warped to crop_size by bilinear interpolation. Everything outside the image is 0.

    The scale is that of window_data_param, as in Caffe. If it is not given, that of transform_param applies:
    Caffe's own upgrade of old nets moves it there, although Caffe's layer does not read it.

    Args:
        layer: a LayerParameter message of type WindowData.
        phase: "TRAIN" or "TEST".
        where, seed, workers: see `Source`.
        source, root: window file and folder to use instead of those in window_data_param.

    Raises:
        DataError: there is no crop_size, or context_pad leaves nothing of it.
    """

    def __init__(
        self,
        layer: LayerParameter,
        phase: str,
        *,
        source: str | os.PathLike[str] | None = None,
        root: str | os.PathLike[str] | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        param = layer.window_data_param
        super().__init__(layer, param.batch_size, **options)
        self.source = param.source if source is None else str(source)
        self.root = param.root_folder if root is None else str(root)
        self.transform = Transformer(layer.transform_param, phase, self.where or f"layer {layer.name!r}")
        self.scale = np.float32(param.scale if param.HasField("scale") else self.transform.scale)
        self.size = layer.transform_param.crop_size
        self.pad, self.square = param.context_pad, param.crop_mode == "square"
        self._param = param
        self._kinds: tuple[list[Window], list[Window]] | None = None
        if not self.size or 2 * self.pad >= self.size:
            raise self.error(
                "impossible size",
                found=f"crop_size {self.size} in transform_param, context_pad {self.pad}",
                expected="a crop_size of more than twice context_pad",
            )
        if len(self.tops) != 2:
            raise self.error("wrong number of tops", found=len(self.tops), expected="two: data and label")

    @property
    def kinds(self) -> tuple[list[Window], list[Window]]:
        """Background and foreground windows; the file is read on first use.

        Raises:
            DataError: the file lacks windows that a batch needs, or has a foreground window of class 0.
        """
        if self._kinds is None:
            low, high = self._param.bg_threshold, self._param.fg_threshold
            windows = read_windows(self.source, self.root)
            foreground = [window for window in windows if window.overlap >= high]
            background = [window for window in windows if window.overlap < min(low, high)]
            self._check(background, foreground)
            self._kinds = background, foreground
        return self._kinds

    @property
    def backgrounds(self) -> int:
        """How many samples of a batch are background."""
        return self.batch_size - int(np.float32(self.batch_size) * np.float32(self._param.fg_fraction))

    def count(self) -> int:
        return sum(map(len, self.kinds))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """data (N, C, crop_size, crop_size), label (N,). C is 3, because the layer reads colour."""
        data = (self.batch_size, 3, self.size, self.size)
        return dict(zip(self.tops, (data, (self.batch_size,)), strict=True))

    def read(self, number: int) -> Item:
        rng = self.order().generator(number)
        is_object = number % self.batch_size >= self.backgrounds
        windows = self.kinds[is_object]
        window = windows[int(rng.integers(len(windows)))]
        flip = self.transform.mirror and rng.integers(2) == 1
        label = window.label if is_object else 0
        return Item((self.cut(window, flip), np.float32(label)), f"{window.image} (named in {self.source})")

    def cut(self, window: Window, flip: bool) -> np.ndarray:
        """The window as float32 [3, crop_size, crop_size]."""
        image = read_image(window.image, listed=self.source)
        warp = plan(window.box, image.shape[:2], self.size, self.pad, self.square, flip)
        x1, y1, x2, y2 = warp.box
        if not (0 <= x1 <= x2 < image.shape[1] and 0 <= y1 <= y2 < image.shape[0]):
            raise self.error(
                "the window lies outside of its image",
                where=f"{window.image} (named in {self.source})",
                found=f"x {window.box[0]} to {window.box[2]}, y {window.box[1]} to {window.box[3]}",
                expected=f"within {image.shape[1]}x{image.shape[0]} (width x height)",
                advice="correct the window file; its numbers count from 0",
            )
        data = np.zeros((3, self.size, self.size), dtype=np.float32)
        if not warp.height or not warp.width:
            return data
        part = resize_bilinear(image[y1 : y2 + 1, x1 : x2 + 1], warp.height, warp.width)
        part = part[:, ::-1] if flip else part
        place = np.s_[:, warp.top : warp.top + warp.height, warp.left : warp.left + warp.width]
        data[place] = (part.transpose(2, 0, 1) - self._mean()[place]) * self.scale
        return data

    def _mean(self) -> np.ndarray:
        """float32 [3, crop_size, crop_size]: the middle of mean_file, mean_value, or 0."""
        square = (3, self.size, self.size)
        if not self.transform.mean_file:
            means = self.transform.means(3) if self.transform.mean_value else np.zeros(3, np.float32)
            return np.broadcast_to(means[:, None, None], square)
        mean = self.transform.mean_image
        offset = (mean.shape[2] - self.size) // 2  # Caffe takes it from the width for both axes
        part = mean[:, max(offset, 0) :, max(offset, 0) :][:, : self.size, : self.size]
        if offset < 0 or part.shape != square:
            raise self.error(
                "the mean file does not fit",
                found="{}x{}x{} (C x H x W)".format(*mean.shape),
                expected=f"3 channels of at least {self.size}x{self.size}",
                where=self.transform.mean_file,
                advice="use mean_value",
            )
        return part

    def _check(self, background: list[Window], foreground: list[Window]) -> None:
        unlabelled = next((w for w in foreground if w.label < 1), None)
        if unlabelled is not None:
            raise self.error(
                "a foreground window has no class",
                where=self.source,
                found=f"class {unlabelled.label}, overlap {unlabelled.overlap:g} in {unlabelled.image}",
                expected="a class above 0 (0 is the background)",
                advice="correct the window file, or raise fg_threshold",
            )
        objects = self.batch_size - self.backgrounds
        for kind, drawn in ((background, self.backgrounds), (foreground, objects)):
            if drawn and not kind:
                raise self.error(
                    "there are no windows to draw from",
                    where=self.source,
                    found=f"{len(foreground)} foreground and {len(background)} background windows",
                    expected=f"some of both: a batch has {self.backgrounds} background of {self.batch_size}",
                    advice="check fg_threshold, bg_threshold and fg_fraction",
                )


def plan(box: Box, image: tuple[int, ...], size: int, pad: int, square: bool, flip: bool) -> Warp:
    """The part of an image [H, W] to cut out and the size of its warp, computed in float32 as in Caffe."""
    if not pad and not square:
        return Warp(box, size, size, 0, 0)
    f = np.float32
    x1, y1, x2, y2 = box
    scale = f(size) / f(size - 2 * pad)
    half_height, half_width = f(y2 - y1 + 1) / f(2), f(x2 - x1 + 1) / f(2)
    center_x, center_y = f(x1) + half_width, f(y1) + half_height
    if square:
        half_height = half_width = max(half_height, half_width)
    x1, x2 = _round(center_x - half_width * scale), _round(center_x + half_width * scale)
    y1, y2 = _round(center_y - half_height * scale), _round(center_y + half_height * scale)
    scale_x, scale_y = f(size) / f(x2 - x1 + 1), f(size) / f(y2 - y1 + 1)
    left, right = max(0, -x1), max(0, x2 - image[1] + 1)
    above, below = max(0, -y1), max(0, y2 - image[0] + 1)
    x1, x2, y1, y2 = x1 + left, x2 - right, y1 + above, y2 - below
    height, width = _round(f(y2 - y1 + 1) * scale_y), _round(f(x2 - x1 + 1) * scale_x)
    top = _round(f(above) * scale_y)
    left = _round(f(right if flip else left) * scale_x)
    return Warp((x1, y1, x2, y2), min(height, size - top), min(width, size - left), top, left)


def _round(value: np.float32) -> int:
    """C's round: halves go away from zero."""
    return int(np.copysign(np.floor(np.abs(np.float64(value)) + 0.5), value))


class _Tokens:
    """The words of a window file, with their line numbers."""

    def __init__(self, path: object, text: str) -> None:
        self._path, self._line = path, 1
        self._words = self._split(text)

    def _split(self, text: str) -> Iterator[str]:
        for self._line, line in enumerate(text.split("\n"), start=1):
            yield from line.split()

    def next(self, kind: type, what: str) -> Any:
        """The next word as str, as an int of 32 bits, or as a finite float."""
        word = next(self._words, None)
        try:
            value = kind(word) if word is not None else self.fail("the end", what)
        except ValueError:
            value = math.inf
        if kind is not str and not abs(value) < (1 << 31):
            self.fail(repr(word), what)
        return value

    def expect_image(self, index: int) -> bool:
        """Whether `# index` follows; false at the end of the file."""
        word = next(self._words, None)
        if word is None and index:
            return False
        if word != "#":
            self.fail("an empty file" if word is None else repr(word), "'# 0', the next image")
        number = self.next(int, "the image's number")
        if number != index:
            self.fail(f"image number {number}", f"{index}: images are numbered from 0 in their order")
        return True

    def fail(self, found: str, expected: str) -> NoReturn:
        """Raises the error for the last line."""
        raise DataError(
            "this is not a window file",
            where=f"{self._path}:{self._line}",
            found=found,
            expected=expected,
            advice="each image: `# number`, name, channels, height, width, count, then count lines "
            "`class overlap x1 y1 x2 y2`",
        )
