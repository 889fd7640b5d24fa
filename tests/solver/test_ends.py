"""What an end leaves: signals, errors, full disks; how many snapshots stay, and the room for them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_runs import log, same_files, train

import rlossctl
from rlossctl.cli.train import command
from rlossctl.errors import DataError, RlossError
from rlossctl.solver import Solver
from rlossctl.solver.passes import Passes
from rlossctl.solver.snapshots import space

# What an end leaves


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_stops_with_a_snapshot_and_its_status(folder: Path, at_iteration, name, status) -> None:
    at_iteration[4] = lambda: os.kill(os.getpid(), getattr(signal, name))
    arguments = ["--prototxt", "solver.prototxt", "--out", "a", "--device", "cpu"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == status
    assert "stopped after 4 iterations; snapshot a/small_iter_4.solverstate" in result.output
    at_iteration.clear()
    train(out="a", resume="auto")
    train(out="straight")
    same_files("a", "straight")


NORM = """
layer { name: "bn" type: "BatchNorm" bottom: "conv1" top: "conv1" }
layer { name: "relu1\""""


@pytest.mark.parametrize("passes", [1, 3])
def test_an_error_leaves_the_last_whole_iteration(folder: Path, monkeypatch, passes: int) -> None:
    """A photo breaks in the last pass of an iteration: those before it leave no trace, statistics too."""
    net = Path("net.prototxt").read_text().replace('layer { name: "relu1"', NORM.strip("\n"))
    Path("net.prototxt").write_text(net)
    solver = Path("solver.prototxt").read_text() + f"iter_size: {passes}\n"
    Path("solver.prototxt").write_text(solver.replace("snapshot: 5", "snapshot: 0"))
    train(out="straight")
    original, broken = Passes.run, {}
    passed = iter(range(1, 1000))

    def one_pass(self: Passes, fed, display, iteration):
        if next(passed) == 5 * passes:
            source = self._net.sources["data"]
            path = Path(source.samples[source.order(shuffle=True).index(source.position)].image)
            broken[path] = path.read_bytes()
            path.write_bytes(broken[path][:100])
        return original(self, fed, display, iteration)

    monkeypatch.setattr(Passes, "run", one_pass)
    with pytest.raises(DataError, match="cannot be read"):
        train(out="a", workers=0)
    assert "Stopped by an error; snapshot of iteration 4: a/small_iter_4.solverstate" in log()
    for path, content in broken.items():
        path.write_bytes(content)
    train(out="a", resume="auto")
    same_files("a", "straight")


def test_an_error_before_the_first_iteration_leaves_nothing(folder: Path) -> None:
    Path("0.png").write_bytes(b"no picture")
    for index in range(1, 7):
        Path(f"{index}.png").write_bytes(b"no picture")
    with pytest.raises(DataError):
        train(out="a")
    assert sorted(path.name for path in Path("a").iterdir()) == ["metrics.jsonl", "train.log"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_logs(folder: Path, at_iteration, monkeypatch) -> None:
    real = Solver.update

    def fill(self: Solver, fed):
        if self.iter == 3:
            os.dup2(os.open("/dev/full", os.O_WRONLY), self.log._metrics.fileno())
        return real(self, fed)

    monkeypatch.setattr(Solver, "update", fill)
    with pytest.raises(RlossError, match=r"metrics\.jsonl: cannot be written"):
        train(out="a")
    assert Path(
        "a/small_iter_4.solverstate"
    ).is_file()  # the update was made, its figures could not be written
    monkeypatch.setattr(Solver, "update", real)
    train(out="a", resume="auto")
    train(out="straight")
    same_files("a", "straight")


def test_an_interrupted_test_is_made_again(folder: Path, monkeypatch) -> None:
    solver = (
        Path("solver.prototxt").read_text().replace("train_net", "net") + "test_iter: 3 test_interval: 4\n"
    )
    Path("solver.prototxt").write_text(solver)
    train(out="straight")
    calls = iter(range(1000))
    original = Solver._test

    def test(self: Solver, index: int):
        if self.iter == 4 and not next(calls):
            net_run = self.test_nets[0].run

            def run(*args, **keywords):
                os.kill(os.getpid(), signal.SIGTERM)
                return net_run(*args, **keywords)

            monkeypatch.setattr(self.test_nets[0], "run", run)
        return original(self, index)

    monkeypatch.setattr(Solver, "_test", test)
    assert train(out="a").signal == signal.SIGTERM
    assert train(out="a", resume="auto").iter == 10
    same_files("a", "straight")


def test_weights_that_an_update_left_half_changed_are_not_saved(folder: Path, monkeypatch) -> None:
    from rlossctl.solver.updating.updates import Updater

    original = Updater.apply

    def apply(self: Updater, rate: float, iteration: int, momentum: float | None):
        if iteration == 3:
            self.parameters[0].tensor.data.add_(1)
            raise RuntimeError("out of memory")
        return original(self, rate, iteration, momentum)

    monkeypatch.setattr(Updater, "apply", apply)
    with pytest.raises(RuntimeError):
        train(out="a")
    assert not list(Path("a").glob("small_iter_*"))


# How many snapshots, and whether there is room


def test_snapshot_and_keep(folder: Path) -> None:
    train(out="b", max_iter=1)
    Path("a").mkdir()
    trained = train(out="a", snapshot=2, keep=2)
    assert trained.iter == 10
    assert sorted(path.name for path in Path("a").glob("*.solverstate")) == [
        "small_iter_10.solverstate", "small_iter_8.solverstate"
    ]  # fmt: skip
    assert len(list(Path("a").glob("small_iter_*"))) == 6


def test_keep_leaves_other_runs_alone(folder: Path) -> None:
    train(out="b", seed=8)
    train(out="a", max_iter=5)
    for path in Path("b").glob("small_iter_10.*"):
        path.rename(Path("a", path.name.replace("10", "99")))
    train(out="a", resume="auto", keep=1)
    assert {path.name for path in Path("a").glob("*.solverstate")} == {
        "small_iter_10.solverstate", "small_iter_99.solverstate"
    }  # fmt: skip


def test_no_room_for_a_snapshot(folder: Path, monkeypatch) -> None:
    class Disk:
        free = 100

    monkeypatch.setattr(space.shutil, "disk_usage", lambda _folder: Disk)
    with pytest.raises(RlossError, match="no room for a snapshot"):
        train(out="a")
    solver = rlossctl.load_solver("solver.prototxt")
    Disk.free = space.snapshot_bytes(solver)
    train(out="a")
    assert "the run would write 2 snapshots" in log()
    train(out="b", snapshot=0)
    assert "the run would write" not in log("b")


def test_what_a_snapshot_takes(folder: Path) -> None:
    train(out="a", max_iter=1)
    expected = sum(Path(f"a/small_iter_1.{kind}").stat().st_size for kind in ("caffemodel", "solverstate"))
    solver = rlossctl.load_solver("solver.prototxt")
    assert 0.3 * expected < space.snapshot_bytes(solver) < expected
