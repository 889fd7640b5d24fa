"""The class ids in a list's labels, and what is suspicious about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


class Suspicion(NamedTuple):
    """Something suspicious about a list's ids: in brief, in full, and whether it makes training pointless."""

    kind: str
    found: str
    fatal: bool


@dataclass
class LabelIds:
    """The ids of the labels seen so far.

    Attributes:
        ignore: the id of unlabelled pixels.
        pixels: number of pixels with each id, int64 [256].
    """

    ignore: int = 255
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))

    def add(self, label: np.ndarray) -> None:
        """Counts a label image, uint8 [H, W]."""
        self.pixels += np.bincount(label.ravel(), minlength=256)

    def classes(self) -> list[int]:
        """The ids that occur, without the ignored one."""
        return [int(index) for index in np.flatnonzero(self.pixels) if index != self.ignore]

    def merged(self, other: LabelIds) -> LabelIds:
        """The ids of both."""
        return LabelIds(self.ignore, self.pixels + other.pixels)

    def one_class(self, done: str = "learned") -> Iterator[Suspicion]:
        """Reports labels with only one class: in a mask of 0 and 255, for example, 255 is ignored.

        Args:
            done: what the labels are for: "learned" or "scored".
        """
        found, ignored = self.classes(), int(self.pixels[self.ignore])
        if len(found) == 1 and ignored:
            yield Suspicion("one class only", self._one_class(found[0], ignored, done), fatal=True)
        elif len(found) == 1:
            yield Suspicion("one class only", f"every pixel has id {found[0]}", fatal=False)

    def missing(self, names: Sequence[str] | Mapping[int, str]) -> Iterator[Suspicion]:
        """Reports the expected classes that no label has, in the order of their ids."""
        found = self.classes()
        expected = names.items() if isinstance(names, Mapping) else enumerate(names)
        missing = [f"{index} ({name})" for index, name in expected if index not in found]
        if missing and found:
            shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
            yield Suspicion("classes that no label has", shown, fatal=False)

    def _one_class(self, only: int, ignored: int, done: str) -> str:
        share = ignored / self.pixels.sum()
        text = (
            f"the ids are {only} and {self.ignore}; {self.ignore}, {share:.1%} of the pixels, does not count"
        )
        if (only, self.ignore) != (0, 255):
            return f"{text}, so class {only} is all that can be {done}"
        advice = "if this is a mask of 0 and 255, write class 1 as 1"
        return f"{text}, so class 0 is all that can be {done}; {advice}"
