"""Turns a photo into a model's inputs: whole, scaled, in tiles, mirrored, or cut as Caffe does."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlossctl.data.preprocess import Preprocess
from rlossctl.data.resize import resize_bilinear, resize_smoothly
from rlossctl.data.seg_transform import SegTransform
from rlossctl.errors import UsageError
from rlossctl.evaluation.predicting.protocol import Protocol, tile_starts
from rlossctl.evaluation.predicting.upsample import upsample
from rlossctl.evaluation.running.room import Room, aligned_starts

Size = tuple[int, int]


@dataclass(frozen=True)
class View:
    """One input of the model: a whole photo, or a tile of it, at one scale, mirrored or not.

    Attributes:
        make: computes `pixels`; tiles do so only when the model asks, since all together need much memory.
        size: (height, width) of the pixels.
        keep: (height, width) of the view without padding.
        scaled: (height, width) of the resized photo that the view is cut from.
        top, left: the view's position in the resized photo.
        flipped: whether the view is mirrored left-right.
    """

    make: Callable[[], np.ndarray]
    size: Size
    keep: Size
    scaled: Size
    top: int = 0
    left: int = 0
    flipped: bool = False

    @property
    def pixels(self) -> np.ndarray:
        """Float32 [3, h, w], preprocessed and padded at the bottom and right; uint8 [h, w, 3] for models that
        take photos."""
        return self.make()

    def enlarged(self, scores: np.ndarray) -> np.ndarray:
        """Scores [C, h, w] at the view's own pixels, without its padding."""
        return upsample(scores[None], self.size, keep=self.keep)[0]


@dataclass(frozen=True)
class Viewed:
    """A photo with all its views.

    Attributes:
        photo: uint8 [H, W, 3], blue first.
        views: made from it, in the order of the model's answers.
        valid: bool [H, W], the pixels that the rank rules may use; None for all.
    """

    photo: np.ndarray
    views: Sequence[View]
    valid: np.ndarray | None = None


class Presentation(typing.Protocol):
    """Which views of a photo the model sees, and which pixels its prediction covers."""

    def views(self, photo: np.ndarray) -> list[View]:
        """Every input made from a photo, uint8 [H, W, 3] BGR."""
        ...

    def shown(self, photo: np.ndarray, label: np.ndarray, ignore: int) -> tuple[np.ndarray, np.ndarray]:
        """Photo and label (uint8 [H, W]) at the size of the prediction; padding is labelled `ignore`."""
        ...


class WholePhotos:
    """Photos as they are, for models that prepare them themselves."""

    def views(self, photo: np.ndarray) -> list[View]:
        """The photo alone."""
        size = _size(photo.shape)
        return [View(lambda: photo, size, size, size)]

    def shown(self, photo: np.ndarray, label: np.ndarray, ignore: int) -> tuple[np.ndarray, np.ndarray]:
        """Both unchanged."""
        return photo, label


class Windows(WholePhotos):
    """The photo, or overlapping tiles of it, at each of the protocol's scales, and mirrored if it says so.

    Args:
        preprocess: prepares a window; with tiles, its crop is the tile's size.
        tile: (height, width) of the tiles, or None for whole photos.
        room: what fits in memory: larger whole photos are shown in tiles.
    """

    def __init__(
        self, preprocess: Preprocess, protocol: Protocol, tile: Size | None, room: Room | None = None
    ) -> None:
        self._preprocess, self._protocol, self._tile, self._room = preprocess, protocol, tile, room

    def views(self, photo: np.ndarray) -> list[View]:
        """Scale by scale, starting at the top left, each window before its mirror image."""
        return [view for scale in self._protocol.scales for view in self._at_scale(photo, scale)]

    def _at_scale(self, photo: np.ndarray, scale: float) -> Iterator[View]:
        size = _size(photo.shape)
        wanted = self._protocol.resize or size
        scaled = max(1, round(wanted[0] * scale)), max(1, round(wanted[1] * scale))
        resize = resize_smoothly if self._protocol.resize else resize_bilinear
        resized = photo if scaled == size else resize(photo, *scaled)
        tile = self._tile or (self._room.window(*scaled) if self._room else None)
        height, width = tile or scaled
        preprocess = replace(self._preprocess, crop=self._tile) if self._tile else self._preprocess
        starts = tile_starts if self._tile else aligned_starts
        for top in starts(scaled[0], height, self._protocol.overlap):
            for left in starts(scaled[1], width, self._protocol.overlap):
                part = resized[top : top + height, left : left + width]
                for flipped in (False, True) if self._protocol.flip else (False,):
                    shown = part[:, ::-1] if flipped else part
                    make = _later(preprocess, shown) if tile else _now(preprocess, shown)
                    keep = _size(shown.shape)
                    yield View(make, preprocess.padded(*keep), keep, scaled, top, left, flipped)


class CaffeCrop:
    """Photo and label padded to the crop and cut to its centre, as Caffe's TEST phase does."""

    def __init__(self, preprocess: Preprocess) -> None:
        self._preprocess = preprocess

    def views(self, photo: np.ndarray) -> list[View]:
        """The crop alone."""
        pixels, _ = self._preprocess.apply_caffe(photo)
        size = _size(pixels.shape[1:])
        return [View(lambda: pixels, size, size, size)]

    def shown(self, photo: np.ndarray, label: np.ndarray, ignore: int) -> tuple[np.ndarray, np.ndarray]:
        """Both padded and cut."""
        transform = SegTransform("TEST", crop=self._preprocess.crop, ignore_label=ignore)
        pixels, cut, _ = transform(photo, label, np.random.default_rng(0))
        return pixels.transpose(1, 2, 0).astype(np.uint8), cut[0].astype(np.uint8)


def presentation(protocol: Protocol, preprocess: Preprocess, room: Room | None = None) -> Presentation:
    """How a protocol shows photos to the model, which has this much room.

    Raises:
        UsageError: tiles or Caffe's protocol have no size.
    """
    if protocol.name == "whole":
        return Windows(preprocess, protocol, None, room and room.within(protocol.memory))
    size = (protocol.tile or preprocess.crop) if protocol.name == "tiles" else preprocess.crop
    if size is None:
        raise UsageError(
            f"the protocol {protocol.name} needs a size",
            found="a model without a crop",
            expected="--tile H,W for tiles, --crop H,W for Caffe's protocol",
            advice="give the size that the net was trained with",
        )
    if protocol.name == "tiles":
        return Windows(preprocess, protocol, size)
    return CaffeCrop(preprocess)


def batches(views: Sequence[View], size: int) -> Iterator[Sequence[View]]:
    """Runs of up to `size` neighbours whose pixels have the same size."""
    batch: list[View] = []
    for view in views:
        if batch and (len(batch) == size or view.size != batch[0].size):
            yield batch
            batch = []
        batch.append(view)
    if batch:
        yield batch


def stacked(batch: Sequence[View]) -> np.ndarray:
    """The pixels of views of one shape, as one array; a single view is not copied."""
    return np.stack([view.pixels for view in batch]) if len(batch) > 1 else batch[0].pixels[None]


def _now(preprocess: Preprocess, part: np.ndarray) -> Callable[[], np.ndarray]:
    pixels, _ = preprocess.apply(part)
    return lambda: pixels


def _later(preprocess: Preprocess, part: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: preprocess.apply(part)[0]


def _size(shape: Sequence[int]) -> Size:
    return shape[0], shape[1]
