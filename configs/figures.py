"""The figures of every network, as `configs/make.py` measured them, which takes a minute."""

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
        parameters: how many; shared ones count once. With 21 classes where `classes` is None.
        multiply_adds: of one forward pass of one image of size `image`, with as many classes.
        classes: how many; None where NUM_LABELS says it.
        image: channels, height and width of the image.
        texts: SHA-256 of each of the network's texts without its first line, by name, which shows what a
            change of a definition changes.
    """

    parameters: int
    multiply_adds: int
    classes: int | None
    image: tuple[int, int, int]
    texts: Mapping[str, str]


@cache
def figures() -> dict[str, Figures]:
    """The figures by the network's name."""
    content = json.loads(FILE.read_text("utf-8"))
    return {name: Figures(**{**entry, "image": tuple(entry["image"])}) for name, entry in content.items()}
