"""Progress: lines where there is no terminal, a bar where there is one, the items untouched in both."""

from __future__ import annotations

import re
import sys

import pytest

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


def test_stages_on_a_terminal_and_elsewhere(monkeypatch, capsys):
    with progress.stage("reading"):
        pass
    assert capsys.readouterr().err == "", "a short one"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.stage("reading"):
        pass
    assert re.fullmatch(r"reading \.\.\. \d+\.\d s\n", capsys.readouterr().err)
    with pytest.raises(ValueError), progress.stage("reading"):
        raise ValueError
    assert capsys.readouterr().err == "reading ... failed\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    with progress.stage("reading"):
        pass
    assert capsys.readouterr().err == "reading: 0 s\n"
