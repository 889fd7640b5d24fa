"""Snapshots are written while training goes on: the same files, in the same order, and no error gets lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import rlossctl
from rlossctl.errors import RlossError
from rlossctl.solver.reading.files import SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.snapshots import snapshot
from rlossctl.solver.training import Trained, train

pytestmark = pytest.mark.usefixtures("folder")
MORE = ["", "snapshot_format: HDF5", "snapshot_diff: true ema_decay: 0.9"]


def run(out: str, **options: object) -> Trained:
    return train(
        SolverOrigin("solver.prototxt").read(), options=TrainOptions(out=out, device="cpu", **options)
    )


def records(out: str) -> list[dict]:
    return [json.loads(line) for line in Path(out, "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Nothing is written before this happens."""
    event = threading.Event()
    original = snapshot.write

    def write(*arguments: object) -> None:
        assert event.wait(30), "training waits for a snapshot"
        original(*arguments)

    monkeypatch.setattr(snapshot, "write", write)
    return event


@pytest.mark.parametrize("more", MORE)
def test_a_snapshot_has_the_values_of_its_iteration(
    held: threading.Event, at_iteration: dict[int, Callable[[], None]], more: str
) -> None:
    """Training stands still for one, and has gone on for two more iterations before the other is written."""
    Path("solver.prototxt").write_text(Path("solver.prototxt").read_text() + more)
    held.set()
    rlossctl.load_solver("solver.prototxt", device="cpu", prefix="late/small").step(5)
    expected = {path.name: path.read_bytes() for path in Path("late").iterdir()}
    held.clear()
    at_iteration[7] = held.set
    run("late", overwrite=True)
    assert expected.keys() >= {"small_iter_5.resume.json"}
    for name, content in expected.items():
        found = Path("late", name).read_bytes()
        assert _anonymous(found) == _anonymous(content) if name.endswith(".json") else found == content
    kinds = [(one["kind"], one["iter"]) for one in records("late") if one["kind"] in ("train", "snapshot")]
    assert kinds.index(("snapshot", 5)) > kinds.index(("train", 6))


def _anonymous(resume: bytes) -> dict:
    """A resume file without the id of its run, and what depends on it."""
    return {key: value for key, value in json.loads(resume).items() if key not in ("run", "check")}


def test_an_error_ends_the_run_at_the_next_iteration(monkeypatch, at_iteration) -> None:
    release = threading.Event()

    def full(*_: object) -> None:
        assert release.wait(30)
        raise RlossError("no space left", where="disk")

    monkeypatch.setattr(snapshot, "write", full)
    at_iteration[6] = lambda: (release.set(), time.sleep(0.1))  # the thread may need a moment
    with pytest.raises(RlossError, match="no space left"):
        run("a")
    assert not list(Path("a").glob("*.solverstate"))
    log = Path("a/train.log").read_text()
    assert "Stopped by an error, and no snapshot could be written: disk: no space left" in log
    last = [one["iter"] for one in records("a") if one["kind"] == "train"][-1]
    assert 5 <= last < 9


def test_an_error_of_the_last_one_is_not_lost(monkeypatch, at_iteration) -> None:
    """The loop ends before the thread does."""
    text = Path("solver.prototxt").read_text()
    Path("solver.prototxt").write_text(text.replace("snapshot: 5", "snapshot: 10"))
    ended = threading.Event()
    at_iteration[10] = lambda: threading.Timer(0.2, ended.set).start()

    def full(*_: object) -> None:
        assert ended.wait(30)
        raise RlossError("no space left", where="disk")

    monkeypatch.setattr(snapshot, "write", full)
    with pytest.raises(RlossError, match="no space left"):
        run("a")


def test_only_one_waits_to_be_written(monkeypatch, at_iteration) -> None:
    """The next one waits for it: there is never more than one copy of the weights."""
    Path("solver.prototxt").write_text(
        Path("solver.prototxt").read_text().replace("snapshot: 5", "snapshot: 1")
    )
    running, most, original = [], [], snapshot.write

    def write(files: snapshot.Files, *rest: object) -> None:
        running.append(files)
        most.append(len(running))
        original(files, *rest)
        running.pop()

    monkeypatch.setattr(snapshot, "write", write)
    run("a", keep=2)
    assert most == [1] * 10
    saved = [one["iter"] for one in records("a") if one["kind"] == "snapshot"]
    assert saved == list(range(1, 11))
    assert sorted(path.name for path in Path("a").glob("*.solverstate")) == [
        "small_iter_10.solverstate",
        "small_iter_9.solverstate",
    ]
