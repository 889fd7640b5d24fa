"""What a page says of a net's layers, and of their weights in a few numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rlossctl.drawing.boxes import Box
from rlossctl.drawing.layout import Drawing, arrange
from rlossctl.drawing.repeats import Block, blocks

BINS, TALLEST = 40, 200  # bars of a histogram, and the number that stands for the tallest
_DIGITS = 4


@dataclass(frozen=True)
class BlobCard:
    """One blob.

    Attributes:
        shape: as text.
        bars: how many values lie in each of BINS equal parts of low to high, the most being TALLEST; empty if
            no value is finite.
        low, high, mean, std: of the finite values.
        zeros: the share of exact zeros, 0 to 1.
        broken: how many values are not finite.
    """

    shape: str
    bars: Sequence[int] = ()
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    std: float = 0.0
    zeros: float = 0.0
    broken: int = 0


@dataclass(frozen=True)
class LayerCard:
    """One layer.

    Attributes:
        name, type: of the layer.
        text: its message as prototxt.
        bottoms, tops: blob -> its shape as text, "" if not known.
        facts: parameters, multiply-adds and the like, by what the page calls them.
        blobs: of its weights, if they are given.
        sign: `-` if the other net lacks it, `+` if it is new, `~` if it differs.
        changes: what differs, in words.
    """

    name: str
    type: str
    text: str
    bottoms: Sequence[tuple[str, str]]
    tops: Sequence[tuple[str, str]]
    facts: Mapping[str, str] = field(default_factory=dict)
    blobs: Sequence[BlobCard] = ()
    sign: str = ""
    changes: Sequence[str] = ()


@dataclass(frozen=True)
class NetView:
    """A net on a page.

    Attributes:
        title: its name.
        drawing: all of its boxes, arranged.
        blocks: its repeating parts, the largest first.
        layers: in the net's order; boxes refer to them by position.
    """

    title: str
    drawing: Drawing
    blocks: Sequence[Block]
    layers: Sequence[LayerCard]

    @classmethod
    def of(cls, title: str, boxes: list[Box], layers: Iterable[LayerCard]) -> NetView:
        """The view of boxes as `drawing` makes them, before they are folded."""
        return cls(title, arrange(boxes), blocks(boxes), list(layers))


def blob_card(values: np.ndarray) -> BlobCard:
    """The card of a blob's values, float32 of any shape."""
    shape = " x ".join(map(str, values.shape)) or "scalar"
    flat = np.asarray(values).reshape(-1)
    finite = flat[np.isfinite(flat)]
    broken = flat.size - finite.size
    if not finite.size:
        return BlobCard(shape, broken=broken)
    low, high = float(finite.min()), float(finite.max())
    counts, _ = np.histogram(finite, bins=BINS, range=(low, high) if high > low else None)
    return BlobCard(
        shape,
        [int(bar) for bar in np.ceil(TALLEST * counts / counts.max())],
        _short(low),
        _short(high),
        _short(float(finite.mean(dtype=np.float64))),
        _short(float(finite.std(dtype=np.float64))),
        zeros=_short(float(np.mean(finite == 0))),
        broken=broken,
    )


def _short(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")
