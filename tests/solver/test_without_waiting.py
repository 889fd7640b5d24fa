"""Checks that a GPU need not be waited for: the same errors, before the update."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import rlossctl
from rlossctl import postponed
from rlossctl.errors import NetError


@pytest.mark.usefixtures("folder")
def test_a_postponed_check_stops_the_update(monkeypatch) -> None:
    monkeypatch.setattr(postponed, "AT_ONCE", ())
    for path in Path().glob("*_label.png"):
        Image.new("L", (12, 11), 77).save(path)
    solver = rlossctl.load_solver("solver.prototxt")
    before = [entry.tensor.clone() for entry in solver.net.learnable]
    with pytest.raises(NetError, match=r"label ids out of range[\s\S]*77 in .*_label.png"):
        solver.step(1)
    assert solver.iter == 0
    assert all(entry.tensor.equal(old) for entry, old in zip(solver.net.learnable, before, strict=True))
    assert solver.net.sources["data"].state()["position"] == 0


@pytest.mark.usefixtures("folder")
def test_postponed_checks_change_nothing_else(monkeypatch) -> None:
    figures = []
    for at_once in (postponed.AT_ONCE, ()):
        monkeypatch.setattr(postponed, "AT_ONCE", at_once)
        solver = rlossctl.load_solver("solver.prototxt")
        figures.append([solver.update().loss for _ in range(3)])
    assert figures[0] == figures[1]
