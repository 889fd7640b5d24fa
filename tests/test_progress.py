"""Progress: lines where there is no terminal, a bar where there is one, the items untouched in both."""

from __future__ import annotations

import sys

from rlossctl import progress


def test_lines_without_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    assert list(progress.track("abc", 3, "images")) == ["a", "b", "c"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" (")[0] for line in lines] == ["1/3 images", "2/3 images"]


def test_short_passes_are_silent(capsys):
    assert list(progress.track("abc", 3, "images")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress.track("abc", 3, "images")) == ["a", "b", "c"]
    assert "0/3" in capsys.readouterr().err
