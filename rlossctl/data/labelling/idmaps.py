"""Turning ids, names and colours into the ids of label images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from rlossctl.data.classes import CITYSCAPES_IDS, read_classes
from rlossctl.data.palette import Palette
from rlossctl.errors import DataError, UsageError
from rlossctl.files import read_listing

OTHER = "other"  # stands for everything that a map does not name
_SHOWN = 6
_KNOWN: dict[str, dict[str, int]] = {
    "cityscapes": {
        **{str(own): train for train, own in enumerate(CITYSCAPES_IDS)},
        **{name: train for train, name in enumerate(read_classes("cityscapes").names)},
        OTHER: 255,
    },
    "reduce-zero": {"0": 255, **{str(label): label - 1 for label in range(1, 255)}, "255": 255},
    "0/255": {"0": 0, "255": 1},
}


@dataclass(frozen=True)
class IdMap:
    """From ids or names to ids.

    Attributes:
        given: what was asked for: an id (as text) or a name -> id 0..255; OTHER for all others. Empty for a
            map that changes nothing.
    """

    given: Mapping[str, int] = field(default_factory=dict)

    def find(self, label: str | int) -> int | None:
        """The id for a name or an id; None if the map does not name it.

        If `other` is all that the map names, ids that have a place keep it.
        """
        kept = self.given.keys() <= {OTHER} and isinstance(label, int) and 0 <= label <= 255
        return int(label) if kept else self.given.get(str(label), self.given.get(OTHER))

    def apply(self, ids: np.ndarray, where: object) -> np.ndarray:
        """Ids [H, W] of any type as uint8.

        Raises:
            DataError: an id is not in the map, or not in 0..255 without a map.
        """
        present, places = np.unique(ids, return_inverse=True)
        mapped = [self.find(int(label)) for label in present]
        wrong = [str(label) for label, to in zip(present, mapped, strict=True) if to is None]
        if wrong:
            raise DataError(
                "ids that have no place in a label image",
                where=where,
                found=_listed(wrong),
                expected="ids in the map" if self.given else "ids 0..255",
                advice="map them with --map FROM=TO,...; --map other=255 takes all that are not named",
            )
        return np.array(mapped, np.int64).astype(np.uint8)[places].reshape(ids.shape)


def parse_map(text: str) -> IdMap:
    """A map from `FROM=TO,FROM=TO`, the name of a known one, or a file of such lines (`FROM TO` also).

    Known are cityscapes (its own ids to training ids), reduce-zero (0 to 255, others one less) and 0/255 (a
    binary mask to ids 0 and 1). `other=ID` takes what is not named.

    Raises:
        UsageError: the text is none of these.
    """
    if text in _KNOWN:
        return IdMap(_KNOWN[text])
    entries = text.split(",")
    if "=" not in text and os.path.isfile(text):
        entries = [
            line for line in read_listing(text).splitlines() if line.strip() and not line.startswith("# ")
        ]
    given = {}
    for entry in entries:
        source, _, target = entry.strip().rpartition("=" if "=" in entry else " ")
        if not source.strip() or not target.strip().isdecimal() or int(target) > 255:
            raise UsageError(
                "this is not a map of ids",
                found=entry.strip()[:60],
                expected=f"FROM=TO,... with TO in 0..255, a file of such lines, or {', '.join(_KNOWN)}",
                advice="FROM is an id, a name, or `other` for the rest",
            )
        given[source.strip()] = int(target)
    return IdMap(given)


def _listed(found: list[str]) -> str:
    return ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")


def ids_of_colours(pixels: np.ndarray, palette: Palette, ids: IdMap, where: object) -> np.ndarray:
    """The ids of a colour-coded picture, uint8 [H, W, 3] RGB, as int64 [H, W].

    Raises:
        DataError: a colour is not in the palette, and the map has no `other`.
    """
    packed = pixels.astype(np.int64) @ np.array([65536, 256, 1])
    present, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    known = {
        (red << 16) | (green << 8) | blue: label for label, (red, green, blue) in palette.colours.items()
    }
    pairs = zip(counts.tolist(), present.tolist(), strict=True)
    unknown = sorted(((count, colour) for count, colour in pairs if colour not in known), reverse=True)
    if unknown and OTHER not in ids.given:
        shown = [
            f"{colour >> 16},{colour >> 8 & 255},{colour & 255} ({count:,} pixels)"
            for count, colour in unknown
        ]
        raise DataError(
            "colours that the palette does not have",
            where=where,
            found=_listed(shown),
            expected="only the palette's colours (red, green, blue)",
            advice="use the data set's own palette (--palette FILE); --map other=255 takes unknown colours",
        )
    # -1, which no map names, stands for the unknown colours, which then become `other`.
    return np.array([known.get(int(colour), -1) for colour in present], np.int64)[places].reshape(
        packed.shape
    )
