"""Which shapes a blob may have."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

MAX_VALUES = 2**60  # of one blob: beyond, torch cannot count the bytes


def shape_fault(shape: Sequence[int]) -> str | None:
    """What is wrong with a blob's shape: negative, or more than MAX_VALUES; None if it is fine."""
    if any(size < 0 for size in shape):
        return "has a negative size"
    if prod(size for size in shape if size) > MAX_VALUES:
        return "is too large"
    return None
