"""Words that depend on a figure."""

from __future__ import annotations


def counted(count: int, noun: str, plural: str = "") -> str:
    """A figure with its noun: `1 image`, `2 images`, `12,000 classes` (with the plural "classes")."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
