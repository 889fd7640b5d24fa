"""Log lines against what Caffe printed, and the JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import pytest

import rlossctl
from rlossctl.errors import RlossError
from rlossctl.net import NetOrigin
from rlossctl.solver import Log
from rlossctl.solver.scoring.testing import run_test
from rlossctl.solver.telling.log import Pace, output_lines

PREFIX = re.compile(r"[IW](\d{4}|\d{8}) (\d\d:\d\d:\d\d\.\d{6}) +\d+ (\S+):\d+\] (.*)")


def shape(line: str) -> str:
    """A message with its measured values replaced: iterations, rates and weights stay.

    SegNet's Caffe is older than HDF5 snapshots and does not say that one is binary.
    """
    line = re.sub(r"\(\S+ iter/s, \S+s/(\d+) iters\)", r"(# iter/s, #s/\1 iters)", line)
    line = line.replace("to binary proto file ", "to ")
    return re.sub(r"((?:loss|accuracy|loss_aux|Loss:) (?:= )?|\* \S+ = )[-+.\de]+", r"\1#", line)


def messages(lines: Iterable[str]) -> list[str]:
    """The texts behind the prefixes; lines without one belong to a message of several lines."""
    return [match.group(4) for line in lines if (match := PREFIX.fullmatch(line))]


def train(folder: Path, dialect: str) -> list[str]:
    """The lines of a run of the recorded solver."""
    lines: list[str] = []
    log = Log([lines.append])
    rlossctl.load_solver(folder / "solver.prototxt", log=log, dialect=dialect).solve()
    return lines


@pytest.mark.parametrize("dialect", ["bvlc", "rloss", "segnet"])
def test_the_lines_of_a_run_are_caffes(golden: Path, tmp_path: Path, monkeypatch, dialect: str) -> None:
    monkeypatch.chdir(tmp_path)
    found = messages(train(golden / "solver" / "log", dialect))
    expected = messages((golden / "solver" / "log" / f"log_{dialect}.txt").read_text().splitlines())
    first, start = (texts.index("Solving tinylog") for texts in (found, expected))
    assert [shape(text) for text in found[first:]] == [shape(text) for text in expected[start:]]
    assert "Creating training net from net file: net.prototxt" in found
    assert "Creating test net (#0) specified by net file: net.prototxt" in found


def test_caffes_log_parser_finds_the_same_table(golden: Path, tmp_path: Path, monkeypatch) -> None:
    """What tools/extra/parse_log.py looks for: iterations, rates, outputs of the train and test net."""
    monkeypatch.chdir(tmp_path)

    def table(lines: list[str]) -> dict[str, list[tuple]]:
        rows: dict[str, list[tuple]] = {"Train": [], "Test": []}
        iteration, rate, started = -1, None, False
        for line in lines:
            started = started or "Solving" in line
            if not started:
                continue
            if match := re.search(r"Iteration (\d+)", line):
                iteration = int(match.group(1))
            if match := re.search(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)", line):
                rate = float(match.group(1))
            if match := re.search(r"(Train|Test) net output #(\d+): (\S+) = ([\.\deE+-]+)", line):
                float(match.group(4))
                rows[match.group(1)].append((iteration, rate, match.group(2), match.group(3)))
        return rows

    for dialect in ("bvlc", "rloss", "segnet"):
        recorded = (golden / "solver" / "log" / f"log_{dialect}.txt").read_text().splitlines()
        found = table(train(golden / "solver" / "log", dialect))
        assert found == table(recorded) and len(found["Train"]) == 14 and len(found["Test"]) == 9


@pytest.mark.parametrize("dialect", ["bvlc", "rloss", "segnet"])
def test_the_lines_of_a_test_are_caffes(golden: Path, tmp_path: Path, monkeypatch, dialect: str) -> None:
    monkeypatch.chdir(tmp_path)
    folder = golden / "solver" / "log"
    train(folder, dialect)
    lines: list[str] = []
    weights = tmp_path / "snap_iter_25.caffemodel"
    tested = run_test(NetOrigin(folder / "net.prototxt", weights), iterations=4, log=Log([lines.append]))
    expected = messages((folder / f"test_{dialect}.txt").read_text().splitlines())
    assert [shape(text) for text in messages(lines)] == [shape(text) for text in expected]
    batches = [float(line.rpartition(" ")[2]) for line in lines if ", loss = " in line]
    assert tested.means["loss"] == [pytest.approx(sum(batches) / 4, rel=1e-5)]
    assert tested.last["loss"] == [pytest.approx(batches[-1], rel=1e-5)]
    assert tested.loss == pytest.approx(tested.means["loss"][0] + 0.3 * tested.means["loss_aux"][0])


def test_a_display_line_tells_the_pace(monkeypatch) -> None:
    clock = iter([0.0, 4.0, 4.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    pace = Pace()
    pace._iteration = 10
    assert pace.lap(20, 20) == " (2.5 iter/s, 4s/20 iters)"
    assert pace.lap(40, 20) == " (20 iter/s, 0s/20 iters)"  # no time has passed: Caffe divides by 1


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
