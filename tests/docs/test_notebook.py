"""The notebook runs, and shows what its page shows: pictures where there are pictures, figures elsewhere."""

from __future__ import annotations

import copy
import json
import re
import runpy

import pytest


@pytest.mark.slow
def test_the_notebook_runs(repository, tmp_path, monkeypatch):
    shown = json.loads((repository / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
    again = copy.deepcopy(shown)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(repository / "docs" / "notebook.py"))["run"](again)
    assert kinds(again) == kinds(shown)
    assert sum("image/png" in kind for cell in kinds(shown) for kind in cell) == 2
    scores = [float(score) for score in re.findall(r"mIoU (\d+\.\d) on", text(again["cells"][-2]))]
    assert len(scores) == 2 and min(scores) > 20, "a fifth is what one class everywhere gives"


def kinds(notebook):
    """What each code cell's outputs are."""
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [[[*output.get("data", ["text"])] for output in cell["outputs"]] for cell in cells]


def text(cell):
    return "".join("".join(output.get("text", "")) for output in cell["outputs"])
