"""The generated pages are current, and say what the registry and the commands say."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rlossctl.cli import COMMANDS
from rlossctl.net import registry


@pytest.fixture
def generate(monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """generate(checkout, *arguments): status and output of its program, in this process."""

    def call(checkout: Path, *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["generate.py", *arguments])
        status = runpy.run_path(str(checkout / "docs" / "generate.py"))["main"]()
        return status, capsys.readouterr().out

    return call


@pytest.mark.slow
def test_pages_are_current(repository):
    command = [sys.executable, str(repository / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"run `python docs/generate.py`: {done.stdout}{done.stderr}"


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
@pytest.mark.parametrize("page", ["layers.md", "cli.md", "formats.md", "networks.md", "datasets.md"])
def test_a_stale_page_is_noticed_and_written_anew(generate, repository, tmp_path, page):
    (tmp_path / "tests" / "golden").mkdir(parents=True)
    shutil.copytree(repository / "docs", tmp_path / "docs")
    for room in ("golden/layers", "golden/densecrf", "golden/dense", "layers", "losses", "data"):
        shutil.copytree(repository / "tests" / room, tmp_path / "tests" / room)
    path = tmp_path / "docs" / page
    path.write_text(path.read_text(encoding="utf-8") + "a line by hand\n", encoding="utf-8")
    assert generate(tmp_path, "--check") == (1, f"not current: docs/{page}\n")
    assert generate(tmp_path) == (0, f"written: docs/{page}\n")
    assert generate(tmp_path, "--check") == (0, "")
    assert path.read_bytes() == (repository / "docs" / page).read_bytes()
