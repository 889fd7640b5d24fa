"""`rlossctl train` as a whole: files, resuming after a kill, signals, arguments that do not go together."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from rlossctl.cli.train import command
from rlossctl.errors import PrototxtError, RlossError, UsageError, WeightsError
from rlossctl.net import DataOverrides
from rlossctl.solver.reading.files import SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.training import Trained
from rlossctl.solver.training import train as train_file


def train(
    prototxt: str, solver: str | None = None, data: str | None = None, root: str | None = None, **options
) -> Trained:
    file = SolverOrigin(prototxt, solver).read()
    return train_file(file, DataOverrides(data, root), TrainOptions(**options))


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the program runs after it."""


def kill() -> None:
    raise Killed


def records(file: Path, kind: str = "train") -> list[dict]:
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    for entry in entries:
        entry.pop("seconds", None)
    return [entry for entry in entries if entry["kind"] == kind]


def position(file: str) -> dict:
    """A resume file without what tells one run's files from another's."""
    entries = json.loads(Path(file).read_text())
    for name in ("run", "files", "check"):
        del entries[name]
    return entries


def test_what_a_run_leaves(folder: Path) -> None:
    trained = train("solver.prototxt", out="a", device="cpu")
    assert trained.iter == 10
    assert not trained.stopped
    assert trained.snapshot == Path("a/small_iter_10.solverstate")
    assert sorted(path.name for path in Path("a").iterdir()) == sorted(
        [f"small_iter_{n}.{kind}" for n in (5, 10) for kind in ("caffemodel", "solverstate", "resume.json")]
        + ["train.log", "metrics.jsonl", "run.json", "curves.svg"]
    )
    log = Path("a/train.log").read_text()
    for text in (
        "Device: cpu, 1 thread; filter backend: ",
        "; seed: 3",
        "Net: small, ",
        "Solving small",
        "Optimization Done.",
    ):
        assert text in log
    (start,) = records(trained.metrics, "start")
    assert start["seed"] == 3
    assert start["device"] == "cpu"
    steps = records(trained.metrics)
    assert [entry["iter"] for entry in steps] == list(range(10))
    assert steps[0]["loss"] == pytest.approx(steps[0]["terms"]["loss"]["weighted"])
    assert steps[0]["lr"] == pytest.approx(0.01)


def test_without_out_everything_goes_where_snapshot_prefix_says(folder: Path) -> None:
    trained = train("solver.prototxt", device="cpu")
    assert trained.snapshot == Path("runs/small_iter_10.solverstate")
    assert trained.metrics == Path("runs/small_metrics.jsonl")
    assert Path("runs/small_train.log").is_file()


@pytest.mark.parametrize("workers", [0, 3])
def test_a_killed_run_goes_on_bit_for_bit(folder: Path, at_iteration, workers: int) -> None:
    straight = train("solver.prototxt", out="straight", device="cpu", workers=1)
    at_iteration[7] = kill
    with pytest.raises(Killed):
        train("solver.prototxt", out="killed", device="cpu", workers=workers)
    assert not Path("killed/small_iter_10.solverstate").exists()
    at_iteration.clear()
    resumed = train("solver.prototxt", out="killed", device="cpu", resume="auto", workers=workers)
    assert resumed.iter == 10
    killed, straight_on = (Path(f"{folder}/small_iter_10.caffemodel") for folder in ("killed", "straight"))
    assert killed.read_bytes() == straight_on.read_bytes()
    assert position("killed/small_iter_10.resume.json") == position("straight/small_iter_10.resume.json")
    # the displayed loss goes on too; iterations 5 and 6 were made twice, with the same figures
    again, once = records(resumed.metrics), records(straight.metrics)
    assert again == [*once[:7], *once[5:]]
    (mark,) = records(resumed.metrics, "resume")
    assert mark["iter"] == 5
    assert mark["exact"]


def test_auto_starts_anew_where_there_is_no_complete_snapshot(folder: Path) -> None:
    Path("a").mkdir()
    Path("a/small_iter_800.solverstate").write_bytes(b"its weights are missing")
    trained = train("solver.prototxt", out="a", device="cpu", resume="auto", max_iter=2)
    assert trained.iter == 2
    assert "to resume from: starting anew" in Path("a/train.log").read_text()


def test_interrupt_stops_with_a_snapshot_and_hangup_writes_one(folder: Path, at_iteration) -> None:
    at_iteration[2] = lambda: os.kill(os.getpid(), signal.SIGHUP)
    at_iteration[4] = lambda: os.kill(os.getpid(), signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    trained = train("solver.prototxt", out="a", device="cpu")
    assert trained.stopped
    assert trained.iter == 4
    assert trained.snapshot == Path("a/small_iter_4.solverstate")
    assert Path("a/small_iter_2.solverstate").is_file()
    assert "Optimization stopped early." in Path("a/train.log").read_text()
    assert signal.getsignal(signal.SIGINT) is before


def test_phase_two_starts_from_the_weights_of_phase_one(folder: Path) -> None:
    first = train("solver.prototxt", out="a", device="cpu")
    weights = str(first.snapshot.with_suffix(".caffemodel"))
    second = train("solver.prototxt", out="b", device="cpu", weights=[weights], max_iter=1)
    assert second.iter == 1
    assert f"Finetuning from {weights}" in Path("b/train.log").read_text()


def test_list_and_root_can_be_replaced(folder: Path) -> None:
    (folder / "net.prototxt").write_text(
        (folder / "net.prototxt").read_text().replace(str(folder / "list.txt"), "nowhere.txt")
    )
    (folder / "short.txt").write_text("0.png 0_label.png\n")
    trained = train(
        "net.prototxt", solver="solver.prototxt", out="a", device="cpu", max_iter=1,
        data="short.txt", root=f"{folder}/",
    )  # fmt: skip
    assert trained.iter == 1


def test_a_folder_that_cannot_be_written_is_reported_first(folder: Path, monkeypatch) -> None:
    Path("file").write_text("in the way")
    monkeypatch.setattr(
        "rlossctl.solver.training.build_solver", lambda *_, **__: pytest.fail("training started")
    )
    with pytest.raises(RlossError, match="file/a: cannot be written"):
        train("solver.prototxt", out="file/a")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission(folder: Path) -> None:
    Path("locked").mkdir(mode=0o500)
    with pytest.raises(RlossError, match="locked: cannot be written"):
        train("solver.prototxt", out="locked")


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"prototxt": "net.prototxt"}, UsageError, "add --solver"),
        ({"prototxt": "solver.prototxt", "solver": "solver.prototxt"}, UsageError, "with a net prototxt"),
        ({"prototxt": "solver.prototxt", "weights": ["a"], "resume": "a.state"}, UsageError, "--resume auto"),
        ({"prototxt": "solver.prototxt", "resume": "no.state"}, WeightsError, r"no\.state"),
        ({"prototxt": "solver.prototxt", "weights": ["no.model"]}, WeightsError, r"no\.model"),
        ({"prototxt": "list.txt"}, PrototxtError, r"list\.txt"),
        ({"prototxt": "bad_net.prototxt"}, PrototxtError, "NetParameter"),
        ({"prototxt": "bad_solver.prototxt"}, PrototxtError, "SolverParameter"),
    ],
)
def test_arguments_that_do_not_go_together(folder: Path, arguments: dict, kind: type, words: str) -> None:
    Path("bad_net.prototxt").write_text("name: 'a'\nlayer { nam: 'x' }\n")
    Path("bad_solver.prototxt").write_text("base_lr: 1\nmomentun: 0.9\n")
    with pytest.raises(kind, match=words):
        train(**arguments, out="a", device="cpu")


def test_max_iter_is_needed(folder: Path) -> None:
    text = (folder / "solver.prototxt").read_text().replace("max_iter: 10", "").replace('"poly"', '"fixed"')
    (folder / "solver.prototxt").write_text(text)
    with pytest.raises(PrototxtError, match="--max-iter"):
        train("solver.prototxt", out="a", device="cpu")


def test_an_error_is_in_the_figures(folder: Path) -> None:
    (folder / "3.png").unlink()
    with pytest.raises(RlossError):
        train("solver.prototxt", out="a", device="cpu")
    assert "3.png" in records(Path("a/metrics.jsonl"), "error")[0]["message"]


def test_a_progress_bar_on_a_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    train("solver.prototxt", out="a", device="cpu")
    shown = capsys.readouterr().err
    assert "10/10" in shown
    assert "Solving small" not in shown


def test_the_command(folder: Path) -> None:
    text = (folder / "solver.prototxt").read_text().replace("0.0005", "${DECAY}")
    (folder / "solver.prototxt").write_text(text)
    arguments = (
        "--prototxt solver.prototxt --set DECAY=0 --out a --device cpu --max-iter 3 --seed 1 --workers 0"
    )
    result = CliRunner().invoke(command, arguments.split(), catch_exceptions=False)
    assert result.exit_code == 0
    assert "done after 3 iterations; snapshot a/small_iter_3.solverstate" in result.output
    assert "weight_decay: 0" in Path("a/train.log").read_text()
    assert records(Path("a/metrics.jsonl"), "start")[0]["seed"] == 1


def test_tensorboard_gets_every_term(folder: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train("solver.prototxt", out="a", device="cpu", max_iter=3, tensorboard=True)
    events = EventAccumulator("a/tensorboard").Reload()
    written = [record["terms"]["loss"]["weighted"] for record in records(Path("a/metrics.jsonl"))]
    assert [event.step for event in events.Scalars("terms/loss")] == [0, 1, 2]
    assert [event.value for event in events.Scalars("terms/loss")] == pytest.approx(written, rel=1e-6)
