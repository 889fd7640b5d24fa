"""The generated pages are current, and say what the registry and the commands say."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rlossctl.cli import COMMANDS
from rlossctl.net import registry

PAGES = ("layers.md", "cli.md", "formats.md", "networks.md", "datasets.md", "api.md")


@pytest.fixture
def generate(monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """generate(checkout, *arguments): status and output of its program, in this process."""

    def call(checkout: Path, *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["generate.py", *arguments])
        status = runpy.run_path(str(checkout / "docs" / "generate.py"))["main"]()
        return status, capsys.readouterr().out

    return call


@pytest.mark.slow
def test_pages_are_current(generate, repository):
    status, printed = generate(repository, "--check")
    assert status == 0, f"run `python docs/generate.py`: {printed}"


def test_every_layer_and_command_is_in_its_page(repository):
    layers = (repository / "docs" / "layers.md").read_text(encoding="utf-8")
    for kind in registry.kinds().values():
        (row,) = [line for line in layers.split("\n") if line.startswith(f"| {kind.type} |")]
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1] == kind.source and cells[-1]
        assert (cells[5], cells[6]) != ("-", "-"), f"nothing proves {kind.type}"
    commands = (repository / "docs" / "cli.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"## rlossctl {name}\n" in commands


@pytest.mark.slow
def test_stale_pages_are_noticed_and_written_anew(generate, repository, tmp_path):
    (tmp_path / "tests" / "golden").mkdir(parents=True)
    shutil.copytree(repository / "docs", tmp_path / "docs")
    for room in ("golden/layers", "golden/densecrf", "golden/dense", "layers", "losses", "data"):
        shutil.copytree(repository / "tests" / room, tmp_path / "tests" / room)
    stale = [tmp_path / "docs" / page for page in PAGES]
    for path in stale:
        path.write_text(path.read_text(encoding="utf-8") + "a line by hand\n", encoding="utf-8")
    assert lines(generate(tmp_path, "--check")) == (1, {f"not current: docs/{page}" for page in PAGES})
    assert lines(generate(tmp_path)) == (0, {f"written: docs/{page}" for page in PAGES})
    assert generate(tmp_path, "--check") == (0, "")
    for path in stale:
        assert path.read_bytes() == (repository / "docs" / path.name).read_bytes()


def lines(answer: tuple[int, str]) -> tuple[int, set[str]]:
    status, printed = answer
    return status, set(printed.splitlines())
