"""Log lines against what Caffe printed, and the JSON lines."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import pytest

import rlossctl
from rlossctl.errors import RlossError
from rlossctl.solver import Log
from rlossctl.solver.log import output_lines

PREFIX = re.compile(r"[IW](\d{4}|\d{8}) (\d\d:\d\d:\d\d\.\d{6}) +\d+ (\S+):\d+\] (.*)")


def shape(line: str) -> str:
    """A message with its measured values replaced: iterations, rates and weights stay."""
    return re.sub(r"((?:loss|accuracy|loss_aux) = |\* \S+ = )[-+.\de]+", r"\1#", line)


def test_the_lines_of_a_run_are_caffes(golden: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []
    solver = rlossctl.load_solver(golden / "solver" / "log" / "solver.prototxt", log=Log([lines.append]))
    solver.solve()
    found = [PREFIX.fullmatch(line).group(4) for line in lines]
    first = next(index for index, text in enumerate(found) if text.startswith("Solving"))
    recorded = (golden / "solver" / "log" / "log_rloss.txt").read_text().splitlines()
    expected = [PREFIX.fullmatch(line).group(4) for line in recorded if PREFIX.fullmatch(line)]
    start = expected.index("Solving tinylog")
    assert [shape(text) for text in found[first:]] == [shape(text) for text in expected[start:]]
    assert "Creating training net from net file: net.prototxt" in found
    assert "Creating test net (#0) specified by net file: net.prototxt" in found


def test_every_line_reads_as_parse_log_reads_it() -> None:
    """extract_seconds.py: month in characters 2-3, day behind, then the time; on every line."""
    lines: list[str] = []
    before = datetime.now()
    Log([lines.append]).info("Iteration 3, loss = 1\nmore of it")
    assert len(lines) == 2
    for line in lines:
        date, time = line.split()[:2]
        parsed = datetime(before.year, int(date[1:3]), int(date[3:]), *map(int, re.split("[:.]", time)))
        assert abs((parsed - before).total_seconds()) < 60
        assert PREFIX.fullmatch(line).group(3) == "test_log.py"


def test_output_lines() -> None:
    outputs = [("accuracy", [0.5, 1.0]), ("loss", [1234567.0]), ("tiny", [1.25e-7])]
    assert output_lines("Test", outputs, {"loss": 0.5}) == [
        "    Test net output #0: accuracy = 0.5",
        "    Test net output #1: accuracy = 1",
        "    Test net output #2: loss = 1.23457e+06 (* 0.5 = 617284 loss)",
        "    Test net output #3: tiny = 1.25e-07",
    ]


def test_figures_are_json_lines_even_if_not_finite(tmp_path: Path) -> None:
    log = Log(metrics=tmp_path / "metrics.jsonl")
    log.record("train", iter=3, loss=float("nan"), terms={"a": [float("inf"), 1.5]})
    log.close()
    log.record("train", iter=4)
    log.info("nobody hears this")
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line) == {"kind": "train", "iter": 3, "loss": "nan", "terms": {"a": ["inf", 1.5]}}


def test_a_log_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RlossError, match="cannot be written"):
        Log().add_file(tmp_path / "missing" / "train.log")
