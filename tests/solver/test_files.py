"""What a training is read from: every prototxt once, told apart by its fields."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rlossctl.net import DataOverrides
from rlossctl.prototxt import text
from rlossctl.solver.load import build_solver
from rlossctl.solver.reading.files import SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.training import train

TESTS = "test_iter: 1 test_iter: 1 test_interval: 2 test_net: 'net.prototxt'"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """("read" or "parsed", file) -> how often, from here on."""
    found: Counter[tuple[str, str]] = Counter()
    read, parse = text.read_text, text.parse

    def counting_read(path: str | Path) -> str:
        found["read", Path(path).name] += 1
        return read(path)

    def counting_parse(content: str, kind: object, where: str) -> object:
        found["parsed", Path(where).name] += 1
        return parse(content, kind, where)

    monkeypatch.setattr(text, "read_text", counting_read)
    monkeypatch.setattr(text, "parse", counting_parse)
    return found


def once(*names: str) -> dict[tuple[str, str], int]:
    return {(what, name): 1 for what in ("read", "parsed") for name in names}


def test_a_solver_and_the_nets_that_it_names(folder: Path, counted: Counter[tuple[str, str]]) -> None:
    """The training net, a named test net and the generic test net are all of one file."""
    solver = (folder / "solver.prototxt").read_text().replace("train_net:", f"{TESTS} net:")
    (folder / "solver.prototxt").write_text(solver)
    train(SolverOrigin("solver.prototxt").read(), options=TrainOptions(out="a", device="cpu", max_iter=1))
    assert counted == once("solver.prototxt", "net.prototxt")


def test_a_net_beside_its_solver(folder: Path, counted: Counter[tuple[str, str]]) -> None:
    text = (folder / "solver.prototxt").read_text() + "test_iter: 1 test_iter: 1 test_interval: 2"
    (folder / "solver.prototxt").write_text(text)
    origin = SolverOrigin("net.prototxt", "solver.prototxt")
    train(origin.read(), options=TrainOptions(out="a", device="cpu", max_iter=1))
    assert counted == once("solver.prototxt", "net.prototxt")


def test_max_iter_leaves_the_message_as_it_was_read(folder: Path) -> None:
    file = SolverOrigin("solver.prototxt").read()
    solver = build_solver(file, DataOverrides(), TrainOptions(max_iter=1, device="cpu"))
    assert (solver.param.max_iter, file.param.max_iter) == (1, 10)
