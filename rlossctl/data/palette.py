"""The colours of classes, and writing label images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from rlossctl.errors import DataError
from rlossctl.files import atomic_write


@dataclass(frozen=True)
class Palette:
    """The colours of classes.

    Attributes:
        colours: id -> (red, green, blue); other ids have VOC's colours when they are drawn.
        names: id -> class name, where it is known.
    """

    colours: dict[int, tuple[int, int, int]]
    names: dict[int, str] = field(default_factory=dict)

    @property
    def table(self) -> np.ndarray:
        """uint8 [256, 3] RGB, a colour for every id."""
        table = voc_palette()
        for index, colour in self.colours.items():
            table[index] = colour
        return table


def listed_palette(colours: Sequence[Sequence[int]], names: Sequence[str] = ()) -> Palette:
    """The palette of colours (and names) in the order of ids."""
    return Palette(
        {index: (red, green, blue) for index, (red, green, blue) in enumerate(colours)},
        dict(enumerate(names)),
    )


def voc_palette() -> np.ndarray:
    """VOC's colour map, uint8 [256, 3] RGB: the id's bits, dealt out from the top of each channel."""
    ids = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for level in range(8):
        for channel in range(3):
            bit = (ids >> (3 * level + channel)) & 1
            palette[:, channel] |= (bit << (7 - level)).astype(np.uint8)
    return palette


def save_label_png(
    path: str | os.PathLike[str], ids: np.ndarray, *, palette: bool = True, colours: np.ndarray | None = None
) -> None:
    """Writes class ids as a PNG whose pixel values are the ids.

    Args:
        ids: [H, W], 0..255.
        palette: whether to add colours. A plain single-channel PNG is one that Caffe itself reads as
            ids (it would turn a palette into grey levels).
        colours: uint8 [256, 3] RGB; VOC's by default.

    Raises:
        DataError: `ids` is not two-dimensional or has values outside 0..255.
        RlossError: the file cannot be written.
    """
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.size == 0 or ids.min() < 0 or ids.max() > 255:
        extent = f", ids {ids.min()}..{ids.max()}" if ids.size else ""
        raise DataError(
            "these ids do not fit a label image",
            where=path,
            found=f"shape {ids.shape}{extent}",
            expected="two dimensions, ids 0..255",
            advice="save one map at a time, with 255 for unlabelled pixels",
        )
    image = Image.fromarray(np.ascontiguousarray(ids, dtype=np.uint8))
    if palette:
        image.putpalette((voc_palette() if colours is None else colours).tobytes())
    with atomic_write(path) as file:
        image.save(file, format="PNG")
