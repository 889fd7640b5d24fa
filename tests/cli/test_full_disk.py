"""A disk that fills: every command says so in one paragraph, leaves nothing unfinished, loses nothing old.

Two ways to fill it: a limit on the size of files (everywhere), and a file system of 1 MB with some kilobytes
left (where this process may mount one).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="needs fork and limits on files"),
]

NET = """name: "tiny"
layer { name: "data" type: "ImageSegData" top: "data" top: "label"
  image_data_param { source: "list.txt" root_folder: "." batch_size: 1 label_type: PIXEL }
  transform_param { crop_size: 17 mean_value: 100 mean_value: 110 mean_value: 120 } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 200 kernel_size: 9 pad: 4 weight_filler { type: "xavier" } } }
layer { name: "score" type: "Convolution" bottom: "conv1" top: "score"
  convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param { ignore_label: 255 } include { phase: TRAIN } }
"""
SOLVER = """net: "net.prototxt" type: "SGD" base_lr: 0.01 lr_policy: "fixed" max_iter: 2 snapshot: 1
display: 1 snapshot_prefix: "small" random_seed: 1
"""
# Runs commands in forked processes, which find torch imported: [[command, old file, room, limit], ...] gives
# [[status, what it said, what the old file holds, what is left unfinished], ...].
FORKED = """
import json, os, resource, shutil, sys
from pathlib import Path
import torch, rlossctl.solver.training
from rlossctl.cli import main
from rlossctl.net import registry
registry.kinds()
torch.set_num_threads(1)
out = Path("out")

def prepare(old, room):
    for path in out.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if old:
        (out / old).parent.mkdir(parents=True, exist_ok=True)
        (out / old).write_text("old")
    if room is not None:
        filler = os.open(out / "filler", os.O_WRONLY | os.O_CREAT)
        written = 0
        try:
            while True:
                written += os.write(filler, bytes(4096))
        except OSError:
            os.truncate(filler, written - room)
        finally:
            os.close(filler)

def run(command, limit):
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(theirs, 2)
        os.close(theirs)
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        sys.argv = ["rlossctl", *command.split()]
        status = 0
        try:
            main()
        except SystemExit as error:
            status = error.code or 0
        sys.stderr.flush()
        os._exit(status)
    os.close(theirs)
    with os.fdopen(ours) as said:
        text = said.read()
    return os.WEXITSTATUS(os.waitpid(child, 0)[1]), text

answers = []
for command, old, room, limit in json.loads(sys.argv[1]):
    prepare(old, room)
    answer = run(command, limit)
    unfinished = [str(path) for path in out.rglob("*") if path.suffix == ".part"]
    answers.append([*answer, (out / old).read_text() if old else "old", unfinished])
print(json.dumps(answers))
"""


class Case(NamedTuple):
    """A command that fails where a file may have `room` bytes or so much is left, and what it replaces."""

    command: str
    replaces: str = ""
    room: int = 49152


class Answer(NamedTuple):
    """What a command did."""

    status: int
    said: str
    old: str
    unfinished: list[str]


WEIGHTS = "net.prototxt w.caffemodel"
CASES = {
    "safetensors": Case(f"convert {WEIGHTS} -o out/m.safetensors", "m.safetensors"),
    "PyTorch": Case(f"convert {WEIGHTS} -o out/m.pt", "m.pt"),
    "HDF5": Case(f"convert {WEIGHTS} -o out/m.caffemodel.h5", "m.caffemodel.h5"),
    "caffemodel": Case("convert old.prototxt w.caffemodel -o out/m.caffemodel", "m.caffemodel"),
    "ONNX": Case(f"convert {WEIGHTS} -o out/m.onnx", "m.onnx"),
    "prototxt": Case("convert old.prototxt -o out/m.prototxt", "m.prototxt", 64),
    "log": Case("train --prototxt solver.prototxt --device cpu --out out/run", room=64),
    "snapshot": Case("train --prototxt solver.prototxt --device cpu --out out/run"),
    "prediction": Case(f"predict {WEIGHTS} 0.png --out out/predictions", "predictions/0.png", 64),
    "report": Case(f"eval {WEIGHTS} --data list.txt --root . --report out/report", "report/index.html", 64),
    "results": Case(f"eval {WEIGHTS} --data list.txt --root . --json out/r.json", "r.json", 64),
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net, its weights, a solver, two photos with labels and their list."""
    from rlossctl.net import load_net
    from rlossctl.net.saved import layer_records
    from rlossctl.weights import write_caffemodel

    folder = tmp_path_factory.mktemp("inputs")
    draw = np.random.default_rng(0)
    for index in range(2):
        Image.fromarray(draw.integers(0, 256, (17, 17, 3), np.uint8)).save(folder / f"{index}.png")
        Image.fromarray(draw.integers(0, 2, (17, 17), np.uint8)).save(folder / f"{index}_label.png")
    (folder / "list.txt").write_text("/0.png /0_label.png\n/1.png /1_label.png\n")
    (folder / "net.prototxt").write_text(NET)
    (folder / "old.prototxt").write_text(NET)
    (folder / "solver.prototxt").write_text(SOLVER)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        net = load_net("net.prototxt", phase="TEST")
        write_caffemodel(folder / "w.caffemodel", net.name, layer_records(net))
    return folder


@pytest.fixture(scope="module", params=["limited", pytest.param("mounted", marks=pytest.mark.full)])
def answers(request: pytest.FixtureRequest, inputs: Path) -> Iterator[dict[str, Answer]]:
    """What each command did on a full disk."""
    mounted = request.param == "mounted"
    out = inputs / "out"
    out.mkdir(exist_ok=True)
    if mounted:
        size = ["-o", "size=1m", "tmpfs", str(out)]
        done = subprocess.run(["mount", "-t", "tmpfs", *size], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        cases = [
            (case.command, case.replaces, case.room // 4096 * 4096, None)
            if mounted
            else (case.command, case.replaces, None, case.room)
            for case in CASES.values()
        ]
        command = [sys.executable, "-c", FORKED, json.dumps(cases)]
        done = subprocess.run(command, cwd=inputs, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        yield {name: Answer(*answer) for name, answer in zip(CASES, json.loads(done.stdout), strict=True)}
    finally:
        if mounted:
            subprocess.run(["umount", str(out)], check=True)


@pytest.mark.parametrize("name", CASES)
def test_a_full_disk(answers, name):
    answer = answers[name]
    assert answer.status == 1, answer.said
    paragraph = answer.said[answer.said.index("error: ") :]
    full = ("File too large", "No space left on device", "the disk has no room for a snapshot")
    assert any(words in paragraph for words in full)
    assert "out" in paragraph.partition("\n")[0] and "free" in paragraph
    assert "Traceback" not in answer.said and answer.said.count("error: ") == 1
    assert answer.unfinished == []
    assert answer.old == "old"
