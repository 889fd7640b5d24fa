"""Figures with their nouns."""

from __future__ import annotations

from rlossctl.words import counted


def test_one_and_many():
    assert counted(1, "image") == "1 image"
    assert counted(0, "image") == "0 images"
    assert counted(12000, "image") == "12,000 images"
    assert [counted(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]
