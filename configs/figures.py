"""The figures of every network. `configs/make.py` measures them, which takes a minute."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("figures.json")
CLASSES = 21  # of the networks that take NUM_LABELS, while they are measured


@dataclass(frozen=True)
class Figures:
    """A network's net for inference in figures.

    Attributes:
        parameters: their number, counting shared ones once; for 21 classes if `classes` is None.
        multiply_adds: for one forward pass of one image of size `image`, with the same number of classes.
        classes: the number of classes; None if NUM_LABELS sets it.
        image: channels, height and width of the image.
        texts: the SHA-256 of each of the network's texts without its first line, by name. It shows which
            texts a change to a definition affects.
    """

    parameters: int
    multiply_adds: int
    classes: int | None
    image: tuple[int, int, int]
    texts: Mapping[str, str]


@cache
def figures() -> dict[str, Figures]:
    """The figures by network name."""
    content = json.loads(FILE.read_text("utf-8"))
    return {name: Figures(**{**entry, "image": tuple(entry["image"])}) for name, entry in content.items()}
