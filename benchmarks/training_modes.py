"""Steps per second of DeepLab-LargeFOV in every mode of `train`, beside plain PyTorch, in one run.

    python benchmarks/training_modes.py --batch 2 --threads 2 --steps 1 --nets without
    python benchmarks/training_modes.py --device cuda --batch 10 --json figures.json

Plain PyTorch is the same net written with torch.nn, in torch's default layout, with torch.optim.SGD; it reads
its loss in every step, as `train` does. On a CPU it has a process of its own, with torch's default memory:
`train` asks for huge pages before torch is loaded, and so does this program. The modes: float32 (TF32 on a
GPU), channels last, with --compile joined layers, on a GPU CUDA graphs and bf16, each without and with the
DenseCRF term, on a batch that lies on the device; and on a GPU the fastest ones fed from files. All are made
first and take turns, a few steps each, so that other work on the machine hits all alike. The figure is the
median of the rounds. A mode that fails is reported with its error; the others go on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from rlossctl.cli.train import HUGE_PAGES

os.environ.setdefault(*HUGE_PAGES)  # before torch is loaded, as in `train`

import torch
from torch import nn
from training_step import CONFIGS, NETS, VALUES, write_data

from rlossctl.net import DataOverrides
from rlossctl.solver.load import build_solver
from rlossctl.solver.machine.speed import Speed, choose_kernels
from rlossctl.solver.reading.files import SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.solver import Solver

WARM_UP = {"cpu": 2, "cuda": 6}  # steps: kernels are chosen, graphs captured
PLAIN = "plain PyTorch"


@dataclass(frozen=True)
class Mode:
    """One way to train."""

    name: str
    net: str
    speed: Speed
    precision: str = "FP32"
    from_files: bool = False


def modes(arguments: argparse.Namespace) -> list[Mode]:
    found = []
    for net in arguments.nets:
        first, last = Speed(channels_last=False), Speed(channels_last=True)
        found.append(Mode("float32", net, first))
        found.append(Mode("float32, channels last", net, last))
        if arguments.compile:
            joined = Speed(channels_last=True, compiled=True)
            found.append(Mode("float32, channels last, compiled", net, joined))
        if arguments.device == "cpu":
            continue
        graphs = Speed(channels_last=True, cuda_graphs=True)
        found.append(Mode("float32, channels last, graphs", net, graphs))
        found.append(Mode("bf16, channels last", net, last, "BF16"))
        found.append(Mode("bf16, channels last, graphs", net, graphs, "BF16"))
        found.append(Mode("float32, channels last, from files", net, last, from_files=True))
        found.append(Mode("bf16, channels last, from files", net, last, "BF16", from_files=True))
    return found


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    place = torch.cuda.get_device_name() if arguments.device != "cpu" else f"{arguments.threads} threads"
    print(f"DeepLab-LargeFOV, batch {arguments.batch} of {arguments.size}x{arguments.size}, {place}")
    contenders: dict[str, Callable[[int], object]] = {}
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_data(root, arguments.batch, arguments.size, arguments.distinct)
        makers = {PLAIN: lambda: plain_apart(root, arguments)}
        for mode in modes(arguments):
            name = f"{mode.name}; {mode.net} the term"
            makers[name] = lambda mode=mode: ours(root, mode, arguments)
        for name, make in makers.items():
            with reported(name, failures):
                contenders[name] = make()
                contenders[name](WARM_UP[arguments.device.partition(":")[0]])
        seconds = measured(contenders, failures, arguments)
    report(arguments, seconds, failures)


@contextlib.contextmanager
def reported(name: str, failures: dict[str, str]):
    """Notes and prints an error of the block."""
    try:
        yield
    except Exception as error:
        failures[name] = f"{type(error).__name__}: {error}".replace("\n", " ")[:500]
        print(f"{name}: FAILED: {failures[name]}", flush=True)
        traceback.print_exc()


def measured(
    contenders: Mapping[str, Callable[[int], object]],
    failures: dict[str, str],
    arguments: argparse.Namespace,
) -> dict[str, float]:
    """Median seconds of a step, for all that did not fail."""
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(arguments.rounds):
        for name, run in contenders.items():
            if name in failures:
                continue
            with reported(name, failures):
                synchronize(arguments.device)
                start = time.perf_counter()
                run(arguments.steps)
                synchronize(arguments.device)
                rounds[name].append((time.perf_counter() - start) / arguments.steps)
    return {
        name: statistics.median(times) for name, times in rounds.items() if times and name not in failures
    }


def report(arguments: argparse.Namespace, seconds: Mapping[str, float], failures: Mapping[str, str]) -> None:
    figures: dict[str, object] = {"batch": arguments.batch, "side": arguments.size}
    base = seconds.get(PLAIN)
    print(f"{'mode':<56}{'ms':>9}{'steps/s':>9}{'of plain':>10}")
    for name, step in seconds.items():
        ratio = step / base if base else float("nan")
        print(f"{name:<56}{1000 * step:9.2f}{1 / step:9.2f}{ratio:10.3f}")
        figures[f"steps per second, {name}"] = 1 / step
        figures[f"step of plain PyTorch's, {name}"] = ratio
    for mode in modes(arguments):
        without, with_term = (seconds.get(f"{mode.name}; {net} the term") for net in ("without", "with"))
        if mode.net == "with" and without and with_term:
            share = 1 - without / with_term
            print(f"share of the DenseCRF term in a step, {mode.name}: {share:.1%}")
            figures[f"share of the term in its step, {mode.name}"] = share
    for name, error in failures.items():
        figures[f"FAILED, {name}"] = error
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


def synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def ours(root: Path, mode: Mode, arguments: argparse.Namespace) -> Callable[[int], object]:
    """Runs so many updates of Caffe's solver in a mode."""
    solver = made(root, mode, arguments)
    if mode.from_files:
        return lambda steps: [solver.update() for _ in range(steps)]
    blobs, _ = solver.net.draw()
    return lambda steps: [solver.update(blobs) for _ in range(steps)]


def made(root: Path, mode: Mode, arguments: argparse.Namespace) -> Solver:
    text = (CONFIGS / NETS[mode.net]).read_text(encoding="utf-8")
    text = text.replace("batch_size: 20", f"batch_size: {arguments.batch}")
    net = root / NETS[mode.net]
    net.write_text(text.replace("crop_size: 321", f"crop_size: {arguments.size}"), encoding="utf-8")
    solver = root / f"{mode.precision}.prototxt"
    described = (CONFIGS / "solver.prototxt").read_text(encoding="utf-8")
    solver.write_text(f"{described}\nprecision: {mode.precision}\n", encoding="utf-8")
    found = build_solver(
        SolverOrigin(net, solver, {**VALUES, "DATA_ROOT": root}).read(),
        DataOverrides(root / "list" / "train.txt", root),
        TrainOptions(
            device=arguments.device,
            seed=0,
            workers=arguments.workers if mode.from_files else 0,
            test_interval=0,
            speed=mode.speed,
        ),
    )
    choose_kernels(found.net)
    return found


def plain_apart(root: Path, arguments: argparse.Namespace) -> Callable[[int], object]:
    """`plain`, on a CPU in a process whose torch was loaded without huge pages."""
    if arguments.device != "cpu":
        return plain(root, arguments)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    name, kept = HUGE_PAGES[0], os.environ[HUGE_PAGES[0]]
    os.environ[name] = "0"
    context.Process(target=serve, args=(there, root, arguments), daemon=True).start()
    os.environ[name] = kept
    there.close()
    here.recv()

    def run(steps: int) -> None:
        here.send(steps)
        here.recv()

    return run


def serve(asked: Connection, root: Path, arguments: argparse.Namespace) -> None:
    """Runs as many steps of `plain` as it is asked for, again and again."""
    torch.set_num_threads(arguments.threads)
    run = plain(root, arguments)
    asked.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            run(asked.recv())
            asked.send("done")


def plain(root: Path, arguments: argparse.Namespace) -> Callable[[int], object]:
    """Runs so many steps of the same net written in PyTorch."""
    drawn, _ = made(root, Mode("", "without", Speed(channels_last=False)), arguments).net.draw()
    images, labels = drawn["data"], drawn["label"][:, 0, ::8, ::8].long()
    net = large_fov(int(VALUES["NUM_LABELS"])).to(arguments.device)
    weights = [p for name, p in net.named_parameters() if name.endswith("weight")]
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    rate = 0.001
    groups = [
        {"params": weights[:-1], "weight_decay": 5e-4},
        {"params": biases[:-1], "lr": 2 * rate},
        {"params": weights[-1:], "lr": 10 * rate, "weight_decay": 5e-4},
        {"params": biases[-1:], "lr": 20 * rate},
    ]
    optimizer = torch.optim.SGD(groups, lr=rate, momentum=0.9)

    def run(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images), labels, ignore_index=255)
            loss.backward()
            optimizer.step()
            loss.item()

    return run


def large_fov(classes: int) -> nn.Sequential:
    """DeepLab-LargeFOV (Chen et al. 2015) as configs/deeplab_largeFOV/train.prototxt has it."""
    layers: list[nn.Module] = []
    channels = 3
    for block, (width, count, dilation) in enumerate(
        ((64, 2, 1), (128, 2, 1), (256, 3, 1), (512, 3, 1), (512, 3, 2))
    ):
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation), nn.ReLU(True)]
            channels = width
        layers.append(nn.MaxPool2d(3, 2 if block < 3 else 1, padding=1, ceil_mode=True))
    layers.append(nn.AvgPool2d(3, 1, padding=1))
    layers += [nn.Conv2d(512, 1024, 3, padding=12, dilation=12), nn.ReLU(True), nn.Dropout()]
    layers += [nn.Conv2d(1024, 1024, 1), nn.ReLU(True), nn.Dropout(), nn.Conv2d(1024, classes, 1)]
    return nn.Sequential(*layers)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=10, help="images per step (default 10)")
    parser.add_argument("--distinct", type=int, default=10, help="the most photos to generate (default 10)")
    parser.add_argument("--size", type=int, default=321, help="side of the images (default 321)")
    parser.add_argument("--steps", type=int, default=5, help="steps per round (default 5)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per mode (default 5)")
    parser.add_argument(
        "--nets",
        nargs="+",
        default=list(NETS),
        choices=list(NETS),
        help="with or without the term (default both)",
    )
    parser.add_argument("--compile", action="store_true", help="also layers joined by torch.compile")
    parser.add_argument("--workers", type=int, default=8, help="threads that decode photos (default 8)")
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="default: torch's choice"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
