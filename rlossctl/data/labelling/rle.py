"""Run lengths of masks: COCO's, as numbers or as text (masktoid of its C code), and CVAT's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def encode(mask: np.ndarray) -> str:
    """COCO's text for a mask, bool [H, W]: run lengths down the columns, beginning with zeros."""
    flat = np.concatenate([[False], np.asarray(mask, bool).ravel(order="F"), [False]])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    ends = changes if len(changes) and changes[-1] == mask.size else np.append(changes, mask.size)
    return _to_text(np.diff(ends, prepend=0).tolist())


def decode(counts: str | bytes | Sequence[int], height: int, width: int) -> np.ndarray:
    """The mask, bool [H, W], of COCO's run lengths.

    Raises:
        ValueError: the runs do not cover exactly this size.
    """
    runs = _from_text(counts) if isinstance(counts, str | bytes) else list(counts)
    return _spread(runs, height * width).reshape(width, height).T


def decode_rows(counts: Sequence[int], height: int, width: int) -> np.ndarray:
    """As `decode` for CVAT's run lengths: along the rows, beginning with zeros."""
    return _spread(counts, height * width).reshape(height, width)


def _spread(runs: Sequence[int], length: int) -> np.ndarray:
    lengths = np.asarray(runs, dtype=np.int64)
    if (lengths < 0).any() or lengths.sum() != length:
        raise ValueError(f"runs of {int(lengths.sum())} pixels for a mask of {length}")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


def _to_text(runs: list[int]) -> str:
    """Six bits in each character, five of them digits, the lowest first; from the fourth on, differences."""
    text = []
    for place, run in enumerate(runs):
        value = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            digit = value & 0x1F
            value >>= 5
            more = value != (-1 if digit & 0x10 else 0)
            text.append(chr((digit | 0x20 if more else digit) + 48))
    return "".join(text)


def _from_text(text: str | bytes) -> list[int]:
    content = text.encode("ascii") if isinstance(text, str) else text
    runs: list[int] = []
    value = shift = 0
    for byte in content:
        digit = byte - 48
        if not 0 <= digit < 64 or shift > 60:
            raise ValueError(f"run lengths with the character {chr(byte)!r}")
        value |= (digit & 0x1F) << shift
        shift += 5
        if not digit & 0x20:
            value -= 1 << shift if digit & 0x10 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("run lengths that end in the middle of a number")
    return runs
