"""The demo's wiring, with a few images and updates; what it reaches is docs/demo.md's business."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest
from click.testing import CliRunner

from rlossctl import demo
from rlossctl.cli.demo import command
from rlossctl.solver.reading.files import SolverFile
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.training import Trained


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two updates per training on six images; the list collects what is trained."""
    trained: list[str] = []
    train = demo.train

    @functools.wraps(train)
    def train_shortly(file: SolverFile, options: TrainOptions) -> Trained:
        trained.append(f"{Path(file.net.path).stem} on {Path(file.placeholders['TRAIN_LIST']).stem}")
        return train(file, options=dataclasses.replace(options, max_iter=2))

    monkeypatch.setattr(demo, "train", train_shortly)
    monkeypatch.setattr(demo, "TRAIN_IMAGES", 6)
    monkeypatch.setattr(demo, "VAL_IMAGES", 2)
    return trained


@pytest.mark.slow
def test_demo(short: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--out", str(tmp_path / "out")], catch_exceptions=False)
    assert result.exit_code == 0
    assert short == [
        "train on train",
        "train on train",
        "trainwithdensecrfloss on train",
        "train on train_full",
        "train on train_full",
    ]
    rows = [line.split("  ")[0] for line in result.output.splitlines() if "%" in line and "scribbles" in line]
    assert rows == ["pCE", "pCE + DenseCRF"]
    assert "full masks" in result.output
    page = tmp_path / "out/report/index.html"
    assert f"report: {page}" in result.output
    assert page.is_file()
    assert (tmp_path / "out/densecrf/model.onnx").is_file()
