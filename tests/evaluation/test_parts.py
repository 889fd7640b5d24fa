"""Evaluation and prediction in parts: the JSON of one process, what is missing, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlossctl.data.palette import save_label_png
from rlossctl.errors import DataError
from rlossctl.evaluation.parts import ray_pool
from rlossctl.evaluation.parts.folder import Folder
from rlossctl.evaluation.parts.packing import NotPackedError, Packed

PHOTOS = 7


@pytest.fixture
def listed(tmp_path) -> Path:
    """Seven generated photos with labels, and their list."""
    rng = np.random.default_rng(3)
    lines = []
    for index in range(PHOTOS):
        size = tuple(rng.integers(20, 40, 2))
        photo = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        label = rng.integers(0, 3, size, dtype=np.uint8)
        label[rng.random(size) < 0.2] = 255
        Image.fromarray(photo).save(tmp_path / f"photo{index}.png")
        save_label_png(tmp_path / f"label{index}.png", label)
        lines.append(f"photo{index}.png label{index}.png\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    return tmp_path


@pytest.fixture
def job(invoke, tiny_model, listed, monkeypatch):
    """job(*options): (exit code, stdout, stderr) of `eval` on the list; `merge` joins what is in `parts`."""
    monkeypatch.chdir(listed)

    def call(*options):
        given = ("--data", "list.txt", "--root", ".", "--device", "cpu")
        return invoke("eval", tiny_model.name, *given, *options)

    return call


def made(job, count, *options, numbers=None) -> None:
    for number in numbers or range(1, count + 1):
        code, _, error = job("--part", f"{number}/{count}", "--parts", "parts", *options)
        assert code == 0, error


@pytest.mark.parametrize(
    ("count", "options"),
    [(1, ()), (3, ("--metric", "caffe", "--boundary", 0.1, "--classes-of-interest", "1-2")), (9, ())],
)
def test_parts_give_the_files_of_one_process(job, invoke, listed, count, options):
    """Also more parts than photos."""
    written = ("--json", "{}.json", "--csv", "{}.csv", "--markdown", "{}.md")
    code, whole, _ = job(*options, *(word.format("one") for word in written))
    assert code == 0
    made(job, count, *options)
    code, out, _ = invoke("eval", "--merge", "parts", *(word.format("all") for word in written))
    assert code == 0
    for suffix in ("json", "csv", "md"):
        assert (listed / f"all.{suffix}").read_bytes() == (listed / f"one.{suffix}").read_bytes()
    assert [line for line in out.splitlines() if "per second" not in line] == [
        line for line in whole.splitlines() if "per second" not in line
    ]


def test_missing_parts_are_named_with_the_command_that_makes_them(job, invoke, listed):
    made(job, 4, numbers=(2, 4))
    code, _, error = invoke("eval", "--merge", "parts")
    assert code == 1 and "2 of 4 parts; missing: 1/4, 3/4" in error
    command = error.rpartition("do:")[2].strip()
    assert command.startswith("for i in 1 3; do rlossctl eval tiny.onnx --data list.txt ")
    words = shlex.split(command.partition("do ")[2].removesuffix("; done"))
    for number in (1, 3):
        assert invoke(*(word.replace("$i", str(number)) for word in words[1:]))[0] == 0
    assert invoke("eval", "--merge", "parts")[0] == 0
    assert "there are no parts" in invoke("eval", "--merge", "elsewhere")[2]


def test_a_part_that_is_done_is_skipped(job, listed):
    made(job, 3)
    before = (listed / "parts/eval.2of3.npz").stat().st_mtime_ns
    code, out, _ = job("--part", "2/3", "--parts", "parts")
    assert code == 0 and "part     2/3 is done: parts/eval.2of3.npz" in out
    assert (listed / "parts/eval.2of3.npz").stat().st_mtime_ns == before


def test_a_part_that_stopped_is_not_done_and_goes_on(job, invoke, listed):
    """Photo 4 is the second of part 2; what was counted before it stays."""
    photo = (listed / "photo4.png").read_bytes()
    (listed / "photo4.png").write_bytes(photo[:50])
    assert job("--part", "2/3", "--parts", "parts")[0] == 1
    made(job, 3, numbers=(1, 3))
    code, _, error = invoke("eval", "--merge", "parts")
    assert code == 1 and "missing: 2/3; 1 of them begun" in error
    (listed / "photo4.png").write_bytes(photo)
    (listed / "photo1.png").unlink()  # it is counted, so nobody reads it again
    made(job, 3, numbers=(2,))
    assert invoke("eval", "--merge", "parts", "--json", "all.json")[0] == 0
    assert json.loads((listed / "all.json").read_text())["images"] == PHOTOS


def test_a_corrupt_photo_is_left_out_once(job, invoke, listed):
    (listed / "photo3.png").write_bytes(b"no picture")
    assert job("--skip-broken", 1, "--json", "one.json")[0] == 0
    made(job, 3, "--skip-broken", 1)
    code, out, _ = invoke("eval", "--merge", "parts", "--json", "all.json")
    assert code == 0 and "1 image left out; the scores are for 6 images" in out
    assert len([line for line in out.splitlines() if "photo3.png" in line]) == 1
    assert (listed / "all.json").read_bytes() == (listed / "one.json").read_bytes()


def test_parts_together_leave_out_no_more_than_one_process(job, invoke, listed):
    for index in (1, 3):
        (listed / f"photo{index}.png").write_bytes(b"no picture")
    made(job, 3, "--skip-broken", 1)
    code, _, error = invoke("eval", "--merge", "parts")
    assert code == 1 and "photo3.png: more images cannot be used" in error and "2 images in all" in error
    assert invoke("eval", "--merge", "parts", "--skip-broken", 2)[0] == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--part", "2/3", "--ignore", 254), "ignore"),
        (("--part", "2/3", "--rule", "threshold"), "rule"),
        (("--part", "2/3", "--metric", "caffe"), "metric"),
        (("--part", "2/3", "--limit", 5), "list"),
        (("--part", "2/4"), "part"),
    ],
)
def test_parts_of_another_job_are_refused(job, listed, options, named):
    made(job, 3, numbers=(1,))
    code, _, error = job(*options, "--parts", "parts")
    assert code == 2 and f"belongs to another job\n  found:    a different {named}" in error
    assert os.listdir(listed / "parts") == ["eval.1of3.npz"]


def test_several_models_and_their_report(invoke, make_model, job, listed):
    make_model(listed / "b.onnx", np.roll(np.eye(3), 1, 0), json.loads(card(listed / "tiny.onnx")))
    assert job("b.onnx", "--json", "one.json", "--report", "one", "--pictures", 3)[0] == 0
    made(job, 2, "b.onnx")
    code, _, error = invoke("eval", "--merge", "parts", "--report", "all")
    assert code == 2 and "a report shows predictions" in error
    again = ("b.onnx", "--merge", "parts", "--report", "all", "--pictures", 3)
    code, _, error = job(*again, "--json", "all.json")
    assert code == 0, error
    assert (listed / "all.json").read_bytes() == (listed / "one.json").read_bytes()
    pictures = [sorted((listed / folder / "images").iterdir()) for folder in ("one", "all")]
    for one, two in zip(*pictures, strict=True):
        assert one.name == two.name and one.read_bytes() == two.read_bytes()
    code, _, error = job(*again, "--rule", "threshold")
    assert code == 2 and "a different rule" in error


def card(path: Path) -> str:
    import onnx

    return next(entry.value for entry in onnx.load(str(path)).metadata_props if entry.key == "rlossctl")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--part", "1/3"), "--part and --parts go together"),
        (("--part", "4/3", "--parts", "parts"), "is not a part"),
        (("--part", "1/3", "--parts", "parts", "--json", "x.json"), "a part has no result of its own"),
        (("--part", "1/3", "--parts", "parts", "--merge", "parts"), "--merge joins parts"),
        (("--actors", 2), "actors are Ray's"),
    ],
)
def test_options_that_do_not_go_together(job, options, message):
    code, _, error = job(*options)
    assert code == 2 and message in error


def test_a_merge_ignores_nothing(job, invoke, listed):
    made(job, 1)
    code, _, error = invoke("eval", "--merge", "parts", "--rule", "threshold", "--json", "all.json")
    assert code == 2 and "takes this from the parts\n  found:    --rule\n" in error
    code, _, error = invoke("predict", "--merge", "parts", "--out", "o")
    assert code == 2 and "found:    --out" in error


def test_parts_do_not_mix_with_torchrun(job, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, error = job("--part", "1/3", "--parts", "parts")
    assert code == 2 and "torchrun's processes divide the list themselves" in error


def test_ray_is_an_extra(job, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, error = job("--engine", "ray")
    assert code == 1 and "expected: the extra ray" in error


@dataclass(frozen=True)
class Failing:
    """Work that fails in the second part."""

    def open(self):
        def make(task):
            if task.part.rank:
                raise DataError("the image cannot be read", where="x.jpg", found="nothing")
            return b"content"

        return make


def test_an_actor_hands_errors_on(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    actor = ray_pool._Actor(Failing(), ray_pool._Surroundings(), 1)
    first, second = (actor({"model": [0], "rank": [rank], "count": [2]}) for rank in (0, 1))
    assert (first["content"], first["failed"]) == ([b"content"], [False])
    error = pickle.loads(second["content"][0])
    assert second["failed"] == [True] and isinstance(error, DataError)
    assert str(error) == "x.jpg: the image cannot be read\n  found:    nothing" and error.found == "nothing"


def test_files_that_are_no_parts_are_named(job, invoke, listed):
    made(job, 2)
    (listed / "parts/eval.2of2.npz").write_bytes(b"PK")
    code, _, error = invoke("eval", "--merge", "parts")
    assert code == 1 and "parts/eval.2of2.npz: this is not a part" in error
    assert Folder("parts", "eval").names() == ["parts/eval.1of2.npz", "parts/eval.2of2.npz"]


def test_a_packed_part_comes_back():
    packed = Packed({"a": 1}, {"b": [2]}, {"c": np.arange(3)})
    again = Packed.from_bytes(packed.to_bytes())
    assert (again.key, again.facts, again.arrays["c"].tolist()) == ({"a": 1}, {"b": [2]}, [0, 1, 2])
    with pytest.raises(NotPackedError):
        Packed.from_bytes(packed.to_bytes()[:-30])


def test_predictions_in_parts(invoke, predict, listed):
    names = [f"photo{index}.png" for index in range(PHOTOS)]
    (listed / "photo5.png").write_bytes(b"no picture")
    assert predict(*names, "--out", "one")[0] == 1
    codes = [
        predict(*names, "--out", "all", "--part", f"{number}/2", "--parts", "records")[0] for number in (1, 2)
    ]
    assert codes == [0, 1], "photo 5 is in the second part"
    code, out, _ = invoke("predict", "--merge", "records")
    assert code == 1 and out.startswith("6 images predicted, in all\n1 image could not be read:\n")
    one, two = (sorted((listed / folder).iterdir()) for folder in ("one", "all"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert "is done" in predict(*names, "--out", "all", "--part", "1/2", "--parts", "records")[1]
    code, _, error = predict(*names, "--out", "other", "--part", "1/2", "--parts", "records")
    assert code == 2 and "a different folder" in error
    (listed / "records/predict.1of2.npz").unlink()
    code, _, error = invoke("predict", "--merge", "records")
    assert code == 1 and "missing: 1/2" in error and "--out all --part 1/2 --parts records" in error


def test_what_cannot_be_predicted_in_parts(predict, listed):
    part = ("--part", "1/2", "--parts", "records")
    code, _, error = predict("photo1.png", "--voc-archive", "x.tgz", *part)
    assert code == 2 and "cannot be made in parts" in error and "--voc-archive" in error
    assert predict("photo1.png", "--out", "o", "--write", "coco", *part)[0] == 2


def test_lists_photos_and_parts_at_addresses(invoke, job, listed, tiny_model):
    """fsspec's memory stands for an object store."""
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in [*listed.glob("*.png"), listed / "list.txt"]:
        memory.pipe_file(f"/bucket/{path.name}", path.read_bytes())
    assert job("--json", "one.json")[0] == 0
    place = "memory://bucket/parts"
    data = ("--data", "memory://bucket/list.txt", "--root", "memory://bucket", "--device", "cpu")
    for number in (1, 2):
        code, _, error = invoke("eval", tiny_model, *data, "--part", f"{number}/2", "--parts", place)
        assert code == 0, error
    assert invoke("eval", "--merge", place, "--json", "all.json")[0] == 0
    assert (listed / "all.json").read_bytes() == (listed / "one.json").read_bytes()
    code, _, error = invoke("eval", tiny_model, *data[:2], "--root", "memory://nowhere")
    assert code == 1 and "memory://nowhere/photo0.png (named in memory://bucket/list.txt:1)" in error
    assert "no such file" in error
    code, _, _ = invoke("predict", tiny_model, data[1], "--root", data[3], "--out", "o", "--device", "cpu")
    assert code == 0 and len(list((listed / "o").iterdir())) == PHOTOS
    memory.rm("/bucket", recursive=True)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray (pip install rlossctl[ray])")
def test_two_actors_give_what_one_process_gives_though_one_is_killed(job, invoke, listed, tiny_model):
    """One session of Ray: the list is long enough for seven parts, and an actor gets SIGKILL after two."""
    lines = (listed / "list.txt").read_text() * 100
    (listed / "list.txt").write_text(lines)
    (listed / "photo3.png").write_bytes(b"no picture")
    assert job("--skip-broken", 100, "--json", "one.json")[0] == 0
    command = [sys.executable, "-m", "rlossctl", "eval", tiny_model.name, "--data", "list.txt", "--root", ".",
               "--device", "cpu", "--skip-broken", "100", "--engine", "ray", "--actors", "2",
               "--parts", "parts", "--json", "ray.json"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(command, cwd=listed, env=environment, stdout=subprocess.PIPE)
    while process.poll() is None and len(list((listed / "parts").glob("*.npz"))) < 2:
        time.sleep(0.05)
    os.kill(next(actors(process.pid)), signal.SIGKILL)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and b"7 parts to make, 0 done already" in out
    assert (listed / "ray.json").read_bytes() == (listed / "one.json").read_bytes()


def actors(pid: int):
    """Ray's actors among the descendants of a process (Linux)."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            title = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::") and b"_Actor" in title and pid in ancestors(int(entry.name)):
            yield int(entry.name)


def ancestors(pid: int):
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return
        yield pid
