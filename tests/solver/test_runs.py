"""A run is never lost and never mixed: folders, locks, digests; test_ends.py has what an end leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import entries, fail, log, same_files, train

import rlossctl
from rlossctl.errors import DataError, RlossError, UsageError, WeightsError
from rlossctl.locks import locked

OTHER_NET = "layer { name: 'relu2' type: 'ReLU' bottom: 'fc8' top: 'fc8' }\n"


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
        "import sys, time; from pathlib import Path; from rlossctl.locks import locked\n"
        "with locked(Path('a/run.lock'), 'training'):\n    print('in', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None and holder.stdout is not None
    assert holder.stdout.readline() == "in\n"
    with pytest.raises(RlossError, match=f"process {holder.pid} on .* has it"):
        train(out="a")
    assert not Path("a/run.json").exists()
    holder.communicate("")
    assert train(out="a").iter == 10
    assert not Path("a/run.lock").exists()


def test_a_lock_that_a_killed_process_left_does_not_count(folder: Path) -> None:
    Path("a").mkdir()
    Path("a/run.lock").write_text('{"process": 1, "host": "elsewhere"}')
    with locked(Path("a/run.lock"), "training"):
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


def test_auto_without_a_snapshot_starts_from_the_weights(folder: Path, at_iteration) -> None:
    """So one command starts a run and goes on with it."""
    train(out="b")
    weights = ["b/small_iter_10.caffemodel"]
    train(out="straight", weights=weights)
    at_iteration[7] = fail
    with pytest.raises(RlossError, match="went wrong"):
        train(out="a", weights=weights, resume="auto")
    at_iteration.clear()
    assert "starts from b/small_iter_10.caffemodel" in log()
    assert list(entries("a/run.json")["settings"]["weights"]) == weights
    train(out="a", weights=weights, resume="auto")
    assert "goes on from iteration 7" in log() and "--weights is not read" in log()
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
