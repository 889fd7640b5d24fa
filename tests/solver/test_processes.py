"""Several processes that train one net, joined by gloo, against one process with their batches together."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rlossctl.errors import UsageError
from rlossctl.solver.machine import processes
from rlossctl.weights import load_caffemodel

# Loads torch once, then forks the processes of every training; a line says what to run.
SERVER = """
import json, os, sys
import torch
from rlossctl import cli
from rlossctl.cli import train
from rlossctl.net import build_net
from rlossctl.prototxt import parse_net
from rlossctl.prototxt.phase import filter_net, net_state
from rlossctl.solver import training

for text in sys.argv[1:]:  # what shapes are computed with is loaded by the first net
    build_net(filter_net(parse_net(text, "net"), net_state("TRAIN")), device="meta")

def run(request, rank):
    os.chdir(request["folder"])
    os.environ.update(request["environment"], RANK=str(rank), LOCAL_RANK=str(rank))
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{name}{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    torch.set_num_threads(1)
    sys.argv = ["rlossctl", *request["arguments"]]
    try:
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        import traceback
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

for line in sys.stdin:
    request, children = json.loads(line), []
    for rank in range(request["count"]):
        child = os.fork()
        if child == 0:
            run(request, rank)
        children.append(child)
    print(json.dumps(children), flush=True)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)
"""

CONV = """layer {{ name: "{0}" type: "Convolution" bottom: "{1}" top: "{0}" param {{ lr_mult: 1 }}
  param {{ lr_mult: 2 decay_mult: 0 }} convolution_param {{ num_output: {2} kernel_size: 3 pad: 1
    weight_filler {{ type: "gaussian" std: {3} }} }} }}
"""
DATA = """name: "small"
layer {{ name: "data" type: "ImageSegData" top: "data" top: "label"
  image_data_param {{ source: "list.txt" root_folder: "." batch_size: {batch} shuffle: {shuffle}
    label_type: PIXEL }}
  transform_param {{ mirror: true crop_size: 9 mean_value: 100 scale_factors: 0.8 scale_factors: 1.2 }} }}
"""
LOSS = """layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc8" bottom: "label" top: "loss"
  loss_param { ignore_label: 255 normalization: BATCH_SIZE } }
"""
INPUT = """layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 2 dim: 3 dim: 9 dim: 9 } shape { dim: 2 dim: 1 dim: 9 dim: 9 } } }
"""
PLAIN = CONV.format("conv1", "data", 4, 0.01) + CONV.format("fc8", "conv1", 3, 0.1)
DROP = 'layer { name: "drop" type: "Dropout" bottom: "conv1" top: "conv1" }\n'
DROPPED = CONV.format("conv1", "data", 4, 0.01) + DROP + CONV.format("fc8", "conv1", 3, 0.1)
NORMED = (
    CONV.format("conv1", "data", 4, 0.01)
    + """layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "bn1" }
layer { name: "bn2" type: "BatchNorm" bottom: "bn1" top: "bn2" batch_norm_param { scale_bias: true } }
"""
    + CONV.format("conv2", "bn2", 4, 0.5)
    + """layer { name: "bn3" type: "BN" bottom: "conv2" top: "bn3"
  bn_param { scale_filler { value: 1 } } }
"""
    + CONV.format("fc8", "bn3", 3, 0.1)
)
SOLVER = """train_net: "net.prototxt" snapshot_prefix: "runs/small" random_seed: 3 solver_mode: CPU
base_lr: 1e-3 lr_policy: "poly" power: 0.9 momentum: 0.9 weight_decay: 0.0005 max_iter: 20 display: 1
"""


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SERVER, INPUT + NORMED, INPUT + DROPPED + LOSS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


Train = Callable[..., list[int]]


@pytest.fixture
def train(server: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """train(count, options, meanwhile=...) -> exit codes; in a folder with photos and their labels."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(1)
    for index in range(9):
        Image.fromarray(random.integers(0, 256, (11, 12, 3), np.uint8)).save(f"{index}.png")
        Image.fromarray(random.integers(0, 3, (11, 12), np.uint8)).save(f"{index}_label.png")
    Path("list.txt").write_text("".join(f"/{index}.png /{index}_label.png\n" for index in range(9)))

    def run(count: int, options: str, meanwhile: Callable[[list[int]], None] | None = None) -> list[int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        environment = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        arguments = ["train", "--prototxt", "solver.prototxt", "--device", "cpu", *options.split()]
        request = {
            "folder": str(tmp_path),
            "count": count,
            "environment": environment,
            "arguments": arguments,
        }
        print(json.dumps(request), file=server.stdin, flush=True)
        children = json.loads(server.stdout.readline())
        try:
            if meanwhile is not None:
                meanwhile(children)
        except BaseException:
            for child in children:
                os.kill(child, signal.SIGKILL)
            raise
        return json.loads(server.stdout.readline())

    return run


def write(middle: str = PLAIN, solver: str = "", *, batch: int = 2, shuffle: str = "true") -> None:
    Path("net.prototxt").write_text(DATA.format(batch=batch, shuffle=shuffle) + middle + LOSS)
    Path("solver.prototxt").write_text(SOLVER + solver)


def weights(path: str) -> list[np.ndarray]:
    return [blob.array() for layer in load_caffemodel(path).layers for blob in layer.blobs]


def records(out: str, kind: str) -> list[dict]:
    lines = map(json.loads, Path(out, "metrics.jsonl").read_text().splitlines())
    return [entry for entry in lines if entry["kind"] == kind]


def wait_for(file: str, text: str, count: int) -> None:
    for _ in range(3000):
        if Path(file).is_file() and Path(file).read_text().count(text) >= count:
            return
        time.sleep(0.02)
    pytest.fail(f"{file} has no {count} times {text}")


@pytest.mark.parametrize(
    ("middle", "solver"),
    [
        pytest.param(PLAIN, "", id="plain"),
        pytest.param(
            PLAIN,
            "iter_size: 2 clip_gradients: 0.5 ema_decay: 0.9",
            id="iter_size",
            marks=pytest.mark.slow,
        ),
        pytest.param(NORMED, "sync_batch_norm: true", id="batch_norm", marks=pytest.mark.slow),
    ],
)
def test_two_processes_are_one_with_both_batches(train: Train, middle: str, solver: str) -> None:
    write(middle, solver, batch=2)
    assert train(2, "--out two") == [0, 0]
    write(middle, solver, batch=4)
    assert train(1, "--out one") == [0]
    for kind in ("caffemodel", *(["ema.caffemodel"] if "ema" in solver else [])):
        pairs = zip(*(weights(f"{out}/small_iter_20.{kind}") for out in ("one", "two")), strict=True)
        for one, two in pairs:
            np.testing.assert_allclose(two, one, rtol=2e-4, atol=2e-6)
    losses = [[entry["loss"] for entry in records(out, "train")] for out in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert len(losses[1]) == 20 and losses[1][0] != losses[1][-1]
    # All that one process writes, once, and nothing from the other.
    log = Path("two/train.log").read_text()
    assert len(re.findall(r"Iteration \d+, lr", log)) == 20 and log.count("Optimization Done") == 1
    assert Path("stdout1").read_text() == Path("stderr1").read_text() == ""
    assert "for each of 2 processes" in log


@pytest.mark.slow
def test_without_sync_batch_norm_each_has_its_own_statistics(train: Train) -> None:
    write(NORMED, batch=2)
    assert train(2, "--out two --max-iter 1") == [0, 0]
    write(NORMED, batch=4)
    assert train(1, "--out one --max-iter 1") == [0]
    one, two = (weights(f"{out}/small_iter_1.caffemodel")[2] for out in ("one", "two"))
    assert not np.allclose(one, two, rtol=1e-3)


def test_sync_batch_norm_needs_a_norm(train: Train) -> None:
    write(PLAIN, "sync_batch_norm: true")
    assert train(2, "--out a") == [1, 1]
    assert Path("stderr0").read_text().count("sync_batch_norm has nothing to synchronize") == 1
    assert Path("stderr1").read_text() == ""


@pytest.mark.slow
def test_a_resumed_run_of_two_is_the_same_run(train: Train) -> None:
    """With dropout, whose draws differ between the processes and do not depend on the interruption."""
    write(DROPPED)
    train(2, "--out whole --max-iter 10")
    train(2, "--out half --max-iter 10 --snapshot 5")
    for kind in ("caffemodel", "solverstate", "resume.json"):
        Path(f"half/small_iter_10.{kind}").unlink()
    assert train(2, "--out half --max-iter 10 --resume auto") == [0, 0]
    one, two = (Path(f"{out}/small_iter_10.caffemodel").read_bytes() for out in ("whole", "half"))
    assert one == two
    positions = [
        json.loads(Path(f"{out}/small_iter_10.resume.json").read_text())["sources"]
        for out in ("whole", "half")
    ]
    assert positions[0] == positions[1] and positions[0][0]["data"]["position"] == 40


def test_draws_differ_between_processes_and_updates_and_come_again() -> None:
    drawn = {}
    for rank, iteration in ((0, 0), (1, 0), (1, 1), (1, 0)):
        processes.Processes(rank, 2).seed_draws(3, iteration)
        value = torch.rand(1).item()
        assert drawn.setdefault((rank, iteration), value) == value
    assert len(set(drawn.values())) == 3
    processes.ALONE.seed_draws(3, 1)  # goes on with its generator
    assert torch.rand(1).item() not in drawn.values()


def test_tests_run_in_the_first_process(train: Train) -> None:
    write(PLAIN, 'test_net: "net.prototxt" test_iter: 2 test_interval: 2')
    assert train(2, "--out two --max-iter 4") == [0, 0]
    assert [entry["iter"] for entry in records("two", "test")] == [0, 2, 4]


def test_epochs_count_all_processes(train: Train) -> None:
    write()
    assert train(2, "--out two --epochs 2") == [0, 0]
    assert len(records("two", "train")) == 5  # 18 samples, 4 in an update


def test_an_error_in_one_process_ends_all_with_its_message(train: Train) -> None:
    write(shuffle="false")
    Path("7.png").write_bytes(Path("7.png").read_bytes()[:200])  # drawn by process 1 in its second update
    assert train(2, "--out a") == [1, 1]
    told = Path("stderr0").read_text()
    assert told.count("error: ") == 1 and "7.png" in told and "(process 1 of 2)" in told
    assert Path("stderr1").read_text() == ""
    assert records("a", "error") and Path("a/small_iter_1.solverstate").is_file()


def test_an_error_before_the_first_update_is_told_once(train: Train) -> None:
    write()
    Path("7.png").unlink()
    assert train(2, "--out a") == [1, 1]
    assert Path("stderr0").read_text().count("7.png") == 1 and Path("stderr1").read_text() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_process_stops_all_at_one_iteration(train: Train, number: int) -> None:
    def stop(children: list[int]) -> None:
        wait_for("a/metrics.jsonl", '"train"', 3)
        os.kill(children[1], number)

    write()
    assert train(2, "--out a --max-iter 1000000", stop) == [128 + number] * 2
    last = records("a", "train")[-1]["iter"] + 1
    assert Path(f"a/small_iter_{last}.solverstate").is_file()
    assert "Optimization stopped early" in Path("a/train.log").read_text()


@pytest.mark.slow
def test_a_killed_process_ends_the_other_with_a_snapshot(train: Train) -> None:
    def kill(children: list[int]) -> None:
        wait_for("a/metrics.jsonl", '"train"', 3)
        os.kill(children[1], signal.SIGKILL)

    write()
    assert train(2, "--out a --max-iter 1000000", kill) == [1, -signal.SIGKILL]
    assert "another process of this training has gone" in Path("stderr0").read_text()
    last = records("a", "train")[-1]["iter"] + 1
    assert train(2, f"--out a --max-iter {last + 2} --resume auto") == [0, 0]
    assert records("a", "resume")[0]["iter"] == last


KILLER = """
import os, signal

class Killer:
    calls = 0

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        Killer.calls += 1
        first_try = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if Killer.calls == 5 and os.environ["RANK"] == "1" and first_try:
            os.kill(os.getpid(), signal.SIGKILL)
        top[0].data[...] = 0

    def backward(self, top, propagate_down, bottom):
        pass
"""


@pytest.mark.slow
def test_torchrun_starts_a_killed_run_again(train: Train) -> None:
    write(PLAIN, "snapshot: 3")
    assert train(2, "--out whole --max-iter 8") == [0, 0]
    Path("killer.py").write_text(KILLER)
    with open("net.prototxt", "a") as file:
        file.write(
            'layer { name: "killer" type: "Python" bottom: "data" top: "k" propagate_down: false\n'
            '  python_param { module: "killer" layer: "Killer" } }\n'
        )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = (
        "--prototxt solver.prototxt --device cpu --out a --max-iter 8 --resume auto --allow-python-layers"
    )
    command = [*torchrun, "--max-restarts", "1", "-m", "rlossctl", "train", *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    resumed = records("a", "resume")
    assert len(resumed) == 1 and resumed[0]["exact"] and 3 <= resumed[0]["iter"] < 8
    one, two = (weights(f"{out}/small_iter_8.caffemodel") for out in ("whole", "a"))
    assert all(map(np.array_equal, one, two))


@pytest.mark.parametrize(
    "environment",
    [
        {"WORLD_SIZE": "2", "RANK": "2"},
        {"WORLD_SIZE": "two"},
        {"WORLD_SIZE": "2", "RANK": "0", "MASTER_PORT": "1"},
    ],
)
def test_environments_that_name_no_process(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="start with torchrun"):
        processes.from_environment(environment)
    assert processes.from_environment({}) == (0, 1)
