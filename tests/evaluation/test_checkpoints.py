"""Checkpoints of known programs, evaluated as they are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from rlossctl.cli.eval import command
from rlossctl.cli.predict import command as predict_command
from rlossctl.errors import WeightsError

sys.path.insert(0, str(Path(__file__).parents[1] / "converters"))
from programs.backbones import randomize
from programs.deeplab import Rloss


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "mine.pth.tar"
    torch.save({"epoch": 3, "state_dict": randomize(Rloss("mobilenet")).state_dict()}, path)
    return path


@pytest.mark.slow
def test_a_checkpoint_runs_alone_and_after_a_prototxt(checkpoint, voc_folder, tmp_path):
    listed = [
        "--data",
        str(voc_folder / "pairs.txt"),
        "--root",
        str(voc_folder),
        "--device",
        "cpu",
        "--limit",
        "1",
    ]
    small = ["--set", "TEST_SIZE=65"]
    tables = []
    for models in (
        [str(checkpoint)],
        ["deeplabv3plus_mobilenet/test", str(checkpoint), "--set", "NUM_LABELS=5"],
    ):
        result = CliRunner().invoke(command, [*models, *listed, *small])
        assert result.exception is None, result.output
        assert "recognised as" in result.output
        tables.append(result.output.split("class ", 1)[1].split(" image in")[0])
    assert tables[0] == tables[1]
    assert (
        "output stride 16 assumed" in CliRunner().invoke(command, [str(checkpoint), *listed, *small]).output
    )
    photo, out = str(voc_folder / "JPEGImages/2007_000000.png"), tmp_path / "out"
    result = CliRunner().invoke(predict_command, [str(checkpoint), photo, "-o", str(out), *small])
    assert result.exception is None, result.output
    assert (out / "2007_000000.png").is_file()


def test_an_unknown_checkpoint_is_named(voc_folder, tmp_path):
    torch.save({"a.weight": torch.zeros(3)}, tmp_path / "a.pth")
    arguments = [str(tmp_path / "a.pth"), "--data", str(voc_folder / "pairs.txt"), "--root", str(voc_folder)]
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, WeightsError) and "unknown program" in str(result.exception)
