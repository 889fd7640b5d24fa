"""A run is never lost and never mixed: folders, locks, digests, what an error or a signal leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import rlossctl
from rlossctl.cli.train import command
from rlossctl.errors import DataError, RlossError, UsageError, WeightsError
from rlossctl.net import DataOverrides
from rlossctl.solver import Solver
from rlossctl.solver.passes import Passes
from rlossctl.solver.reading.files import SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.snapshots import folder as folders
from rlossctl.solver.snapshots import space
from rlossctl.solver.training import Trained
from rlossctl.solver.training import train as train_file

OTHER_NET = "layer { name: 'relu2' type: 'ReLU' bottom: 'fc8' top: 'fc8' }\n"


def train(prototxt: str = "solver.prototxt", **options) -> Trained:
    return train_file(
        SolverOrigin(prototxt).read(), DataOverrides(), TrainOptions(**{"device": "cpu", **options})
    )


def fail() -> None:
    raise RlossError("something went wrong")


def log(name: str = "a") -> str:
    return Path(name, "train.log").read_text()


def entries(file: str) -> dict:
    return json.loads(Path(file).read_text())


def same_files(one: str, other: str, iteration: int = 10) -> None:
    """Equal weights, and equal positions, generators and displayed loss."""
    first, second = (Path(name, f"small_iter_{iteration}.caffemodel").read_bytes() for name in (one, other))
    assert first == second
    left, right = (entries(f"{name}/small_iter_{iteration}.resume.json") for name in (one, other))
    for key in ("seed", "iter", "torch_rng", "sources", "smoothed_loss"):
        assert left[key] == right[key]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# Which run a folder holds


def test_the_run_is_in_the_manifest_and_in_every_snapshot(folder: Path) -> None:
    train(out="a", seed=4)
    manifest = entries("a/run.json")
    ids = {entries(f"a/small_iter_{n}.resume.json")["run"] for n in (5, 10)}
    assert ids == {manifest["run"]}
    assert manifest["settings"]["seed"] == 4
    assert "base_lr: 0.01" in manifest["settings"]["solver"]
    assert set(manifest["prototxts"]) == {"solver.prototxt", "net.prototxt"}
    assert list(manifest["settings"]["lists"]) == [str(folder / "list.txt")]
    assert set(manifest["versions"]) == {"rlossctl", "python", "torch"}
    train(out="b", seed=4)
    assert entries("b/run.json")["run"] != manifest["run"]


def test_annotations_are_in_the_manifest(folder: Path) -> None:
    photos = [Path(line.split()[0]).stem for line in (folder / "list.txt").read_text().splitlines()]
    clicks = folder / "clicks.json"
    clicks.write_text(json.dumps({name: [{"x": 3, "y": 3, "cls": 1}] for name in photos}))
    net = Path("net.prototxt").read_text()
    net = net.replace("label_type: PIXEL", f'label_type: STROKES annotation: "{clicks}" stroke_width: 3')
    Path("net.prototxt").write_text(net)
    train(out="a")
    assert list(entries("a/run.json")["settings"]["lists"]) == [str(folder / "list.txt"), str(clicks)]


def test_a_folder_with_another_run_is_refused(folder: Path) -> None:
    train(out="a", max_iter=5)
    before = {path: path.read_bytes() for path in Path("a").iterdir()}
    with pytest.raises(RlossError, match="holds another run") as caught:
        train(out="a", seed=9)
    for choice in ("--resume auto", "--out", "--overwrite"):
        assert choice in caught.value.advice
    assert {path: path.read_bytes() for path in Path("a").iterdir()} == before


def test_so_is_snapshot_prefix_without_out(folder: Path) -> None:
    train(max_iter=5)
    with pytest.raises(RlossError, match="holds another run"):
        train(seed=9)


def test_snapshots_without_a_manifest_are_a_run(folder: Path) -> None:
    train(out="a", max_iter=5)
    Path("a/run.json").unlink()
    with pytest.raises(RlossError, match=r"found: +a run with 3 files"):
        train(out="a")


def test_another_prefix_does_not_share_the_folders_logs(folder: Path) -> None:
    train(out="a", max_iter=5)
    text = Path("solver.prototxt").read_text().replace("runs/small", "runs/large")
    Path("solver.prototxt").write_text(text)
    with pytest.raises(RlossError, match="holds another run"):
        train(out="a")


def test_overwrite_deletes_the_run_and_nothing_else(folder: Path) -> None:
    train(out="a")
    Path("a/notes.txt").write_text("mine")
    train(out="a", overwrite=True, max_iter=3, seed=9)
    assert sorted(path.name for path in Path("a").glob("small_iter_*")) == [
        f"small_iter_3.{kind}" for kind in ("caffemodel", "resume.json", "solverstate")
    ]
    assert log().count("Starting Optimization") == 1
    assert Path("a/notes.txt").read_text() == "mine"
    assert entries("a/run.json")["settings"]["seed"] == 9


def test_overwrite_keeps_the_weights_to_start_from(folder: Path) -> None:
    train(out="a", max_iter=5)
    with pytest.raises(UsageError, match="would delete the weights"):
        train(out="a", overwrite=True, weights=["a/small_iter_5.caffemodel"])
    assert Path("a/small_iter_5.caffemodel").is_file()


def test_a_start_that_fails_does_not_take_the_folder(folder: Path) -> None:
    (folder / "3.png").rename(folder / "gone.png")
    with pytest.raises(DataError):
        train(out="a")
    (folder / "gone.png").rename(folder / "3.png")
    assert train(out="a").iter == 10


@pytest.mark.slow
def test_two_trainings_in_one_folder(folder: Path) -> None:
    Path("a").mkdir()
    script = (
        "import sys, time; from pathlib import Path; from rlossctl.solver.snapshots.folder import locked\n"
        "with locked(Path('a/run.lock')):\n    print('in', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None and holder.stdout is not None
    assert holder.stdout.readline() == "in\n"
    with pytest.raises(RlossError, match=f"process {holder.pid} on .* trains there"):
        train(out="a")
    assert not Path("a/run.json").exists()
    holder.communicate("")
    assert train(out="a").iter == 10
    assert not Path("a/run.lock").exists()


def test_a_lock_that_a_killed_process_left_does_not_count(folder: Path) -> None:
    Path("a").mkdir()
    Path("a/run.lock").write_text('{"process": 1, "host": "elsewhere"}')
    with folders.locked(Path("a/run.lock")):
        assert entries("a/run.lock")["process"] == os.getpid()


# Going on


def test_auto_takes_the_newest_snapshot_of_this_run(folder: Path, at_iteration) -> None:
    train(out="b", seed=9)
    at_iteration[7] = fail
    with pytest.raises(RlossError, match="went wrong"):
        train(out="a")
    at_iteration.clear()
    for path in Path("b").glob("small_iter_10.*"):
        path.rename(Path("a", path.name))
    resumed = train(out="a", resume="auto")
    assert "Resuming from a/small_iter_7.solverstate" in log()
    assert f"a/small_iter_10.solverstate is of run {entries('b/run.json')['run']}" in log()
    assert resumed.iter == 10
    train(out="straight")
    same_files("a", "straight")


def test_newest_means_written_last(folder: Path, at_iteration) -> None:
    """Who goes back to an earlier snapshot leaves later ones behind, which are not where the run stands."""
    train(out="a")
    at_iteration[6] = fail
    with pytest.raises(RlossError, match="went wrong"):
        train(out="a", resume="a/small_iter_5.solverstate")
    at_iteration.clear()
    train(out="a", resume="auto")
    assert "Resuming from a/small_iter_6.solverstate" in log()


def test_a_finished_run_is_left_as_it_is(folder: Path) -> None:
    train(out="a")
    before = Path("a/small_iter_10.resume.json").read_bytes()
    again = train(out="a", resume="auto")
    assert again.iter == 10
    assert Path("a/small_iter_10.resume.json").read_bytes() == before


def test_fewer_iterations_than_are_done(folder: Path) -> None:
    train(out="a")
    with pytest.raises(RlossError, match="more iterations than are asked for"):
        train(out="a", resume="auto", max_iter=8)


def test_what_changed_since_the_start_is_named(folder: Path) -> None:
    train(out="a", max_iter=5)
    text = Path("solver.prototxt").read_text()
    Path("solver.prototxt").write_text(text.replace("momentum: 0.9", "momentum: 0.8") + "clip_gradients: 5\n")
    net = Path("net.prototxt").read_text().replace('layer { name: "loss"', OTHER_NET + 'layer { name: "loss"')
    Path("net.prototxt").write_text(net)
    lines = Path("list.txt").read_text().splitlines()
    Path("list.txt").write_text("\n".join(reversed(lines)) + "\n")
    train(out="a", resume="auto", seed=8, max_iter=6)
    for words in (
        "momentum: 0.8 in the solver, 0.9 before",
        "clip_gradients: 5.0 in the solver, unset before",
        "the training net is another one",
        "list.txt has changed",
        "Seed 8 does not count: the run goes on with its own, 3",
    ):
        assert words in log()


def test_nothing_is_named_where_nothing_changed(folder: Path) -> None:
    train(out="a", max_iter=5)
    train(out="a", resume="auto", max_iter=6)
    assert "Not as when" not in log()
    assert "does not count" not in log()


def test_a_state_of_another_run_is_refused_in_a_folder_that_holds_one(folder: Path) -> None:
    train(out="a", max_iter=5)
    train(out="b", max_iter=5)
    with pytest.raises(RlossError, match="holds another run"):
        train(out="a", resume="b/small_iter_5.solverstate")
    train(out="c", resume="b/small_iter_5.solverstate", max_iter=6)
    assert entries("c/run.json")["run"] == entries("b/run.json")["run"]


def test_snapshots_without_resume_files_go_by_number_as_before(folder: Path) -> None:
    train(out="a")
    for path in [*Path("a").glob("*.resume.json"), Path("a/run.json")]:
        path.unlink()
    trained = train(out="a", resume="auto", max_iter=12)
    assert "Resuming from a/small_iter_10.solverstate" in log()
    assert trained.iter == 12
    train(out="a", resume="auto", max_iter=13)
    assert "Resuming from a/small_iter_12.solverstate" in log()


# Three files belong together


@pytest.mark.parametrize("kind", ["caffemodel", "solverstate", "resume.json"])
def test_a_flipped_byte_is_an_error_and_auto_goes_back(folder: Path, kind: str) -> None:
    train(out="a")
    flip(Path(f"a/small_iter_10.{kind}"))
    with pytest.raises(WeightsError, match="damaged"):
        train(out="a", resume="a/small_iter_10.solverstate", max_iter=12)
    trained = train(out="a", resume="auto", max_iter=12)
    assert "Resuming from a/small_iter_5.solverstate" in log()
    assert f"small_iter_10.{'solverstate' if kind == 'resume.json' else kind}" in log()
    assert trained.iter == 12


def test_files_of_two_snapshots_do_not_mix(folder: Path) -> None:
    train(out="a", seed=1)
    train(out="b", seed=2)
    Path("a/small_iter_10.caffemodel").write_bytes(Path("b/small_iter_10.caffemodel").read_bytes())
    solver = rlossctl.load_solver("solver.prototxt")
    with pytest.raises(WeightsError, match=r"small_iter_10\.caffemodel: is not the file that was written"):
        solver.restore("a/small_iter_10.solverstate")


def test_no_whole_snapshot_is_an_error_not_a_fresh_start(folder: Path) -> None:
    train(out="a")
    for path in Path("a").glob("*.caffemodel"):
        flip(path)
    with pytest.raises(WeightsError, match="small_iter_10"):
        train(out="a", resume="auto", max_iter=12)


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


# What is refused before anything is done


def test_one_of_several_processes_without_the_others(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="WORLD_SIZE=2 without MASTER_ADDR"):
        train(out="a")
    assert not Path("a").exists()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert train(out="a").iter == 10


def test_the_number_of_layers_that_were_copied(folder: Path) -> None:
    train(out="a", max_iter=1)
    train(out="b", max_iter=1, weights=["a/small_iter_1.caffemodel"])
    assert "Copied 3 of 3 layers with weights from a/small_iter_1.caffemodel" in log("b")
    text = Path("net.prototxt").read_text()
    for name in ("conv1", "frozen", "fc8"):
        text = text.replace(f'name: "{name}"', f'name: "new_{name}"')
    Path("net.prototxt").write_text(text)
    train(out="c", max_iter=1, weights=["a/small_iter_1.caffemodel"])
    (line,) = [line for line in log("c").splitlines() if "no layer in common" in line]
    assert line.startswith("W")
    assert "none of 3 layers" in line


def test_layers_of_another_size_start_anew_if_told(folder: Path) -> None:
    train(out="a", max_iter=1)
    text = Path("net.prototxt").read_text().replace("num_output: 3", "num_output: 5")
    Path("net.prototxt").write_text(text)
    weights = ["a/small_iter_1.caffemodel"]
    with pytest.raises(WeightsError, match="layer 'fc8'") as caught:
        train(out="b", max_iter=1, weights=weights)
    assert "--skip-mismatched" in caught.value.advice
    train(out="c", max_iter=1, weights=weights, skip_mismatched=True)
    (line,) = [line for line in log("c").splitlines() if line.startswith("W") and "starts anew" in line]
    assert "Layer 'fc8' starts anew: " in line and "3x4x1x1 in the file, 5x4x1x1 in the net" in line
    assert "Copied 2 of 3 layers" in log("c")
