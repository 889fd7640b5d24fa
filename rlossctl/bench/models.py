"""Latency, throughput and memory of whole models: ONNX files and prototxts, beside each other."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlossctl.errors import NetError, UsageError

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
WARM, LONGEST = 2, 10.0  # passes before the timed ones; seconds after which no further pass begins
HEAD = f"{'runs':>4} {'size':>11}{'batch':>7}{'threads':>9}{'ms':>10}{'spread':>9}{'images/s':>10}{'MB':>8}"


@dataclass(frozen=True)
class Load:
    """One measurement.

    Attributes:
        model: an ONNX file, or `NET.prototxt` (its weights are what the fillers draw: they do not matter).
        placeholders: of a prototxt.
        device: "cpu" or "cuda".
        size: height and width, unless the model has its own.
    """

    model: str
    placeholders: dict[str, object]
    device: str
    size: tuple[int, int]
    batch: int
    threads: int
    repeats: int


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        load: the request, with the size that the model took.
        milliseconds: of each timed pass of one batch.
        memory: the most bytes that the process took beyond the libraries it had loaded.
    """

    load: Load
    milliseconds: tuple[float, ...]
    memory: int

    @property
    def median(self) -> float:
        """Milliseconds for a batch."""
        return statistics.median(self.milliseconds)

    @property
    def per_second(self) -> float:
        """Images in a second."""
        return 1000 * self.load.batch / self.median

    def row(self) -> str:
        """A line of the table."""
        height, width = self.load.size
        spread = (max(self.milliseconds) - min(self.milliseconds)) / self.median
        return (
            f"{self.load.device:>4} {f'{height}x{width}':>11}{self.load.batch:>7}{self.load.threads:>9}"
            f"{self.median:>10.1f}{spread:>9.0%}{self.per_second:>10.1f}{self.memory / 1e6:>8.0f}"
        )


def measure_all(loads: Sequence[Load]) -> Iterator[Measured]:
    """Measures one after the other, each in a process of its own, so that memory is its own, too.

    Raises:
        NetError: a model cannot be opened or run.
    """
    for load in loads:
        command = [sys.executable, "-m", __name__, json.dumps(asdict(load))]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            reason = ran.stderr.strip().splitlines()
            raise NetError(
                "cannot be measured",
                where=load.model,
                found=reason[-1] if reason else f"exit status {ran.returncode}",
                expected="a model that takes one batch of images",
            )
        found = json.loads(ran.stdout.splitlines()[-1])
        size = found["size"][0], found["size"][1]
        asked = Load(**{**asdict(load), "size": size, "batch": found["batch"]})
        yield Measured(asked, tuple(found["milliseconds"]), found["memory"])


def _measure(load: Load) -> dict[str, Any]:
    """Runs in the process of its own."""
    start = _onnx if load.model.endswith(".onnx") else _prototxt
    prepare = start(load)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run, shape = prepare()
    clock = time.process_time if load.threads == 1 and load.device == "cpu" else time.perf_counter
    for _ in range(WARM):
        run()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < load.repeats and (not times or time.perf_counter() - began < LONGEST):
        at = clock()
        run()
        times.append(1000 * (clock() - at))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    height, width = shape[1:3] if shape[-1] == 3 and shape[1] != 3 else shape[2:4]
    unit = 1 if sys.platform == "darwin" else 1024
    sizes = {"size": [height, width], "batch": shape[0]}
    return {**sizes, "milliseconds": times, "memory": unit * (peak - before)}


Prepared = tuple[Callable[[], object], tuple[int, ...]]


def _onnx(load: Load) -> Callable[[], Prepared]:
    import onnxruntime

    provider = PROVIDERS[load.device]
    if provider not in onnxruntime.get_available_providers():
        raise UsageError("ONNX Runtime cannot use this device here", found=load.device)

    def prepare() -> Prepared:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = load.threads
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(load.model, options, providers=[provider])
        (entry,) = session.get_inputs()
        photos = entry.type == "tensor(uint8)"
        wished = (load.batch, *load.size, 3) if photos else (load.batch, 3, *load.size)
        shape = tuple(
            own if isinstance(own, int) else wish for own, wish in zip(entry.shape, wished, strict=True)
        )
        image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8 if photos else np.float32)
        return lambda: session.run(None, {entry.name: image}), shape

    return prepare


def _prototxt(load: Load) -> Callable[[], Prepared]:
    import torch

    from rlossctl.net.build import load_inference_net
    from rlossctl.net.deploy import Deploy, takes_any_size
    from rlossctl.net.origin import NetOrigin

    torch.set_num_threads(load.threads)

    def prepare() -> Prepared:
        deploy = Deploy(load_inference_net(NetOrigin(load.model, placeholders=load.placeholders)))
        deploy = deploy.eval().to(load.device)
        size = load.size if takes_any_size(deploy) else deploy.input_shape[2:]
        image = torch.randn((load.batch, deploy.input_shape[1], *size), device=load.device)

        @torch.inference_mode()
        def run() -> None:
            deploy(image)
            if load.device == "cuda":
                torch.cuda.synchronize()

        return run, tuple(image.shape)

    return prepare


def table(measured: Sequence[Measured]) -> Iterator[str]:
    """The models one below the other, each with its measurements."""
    yield (
        "ms: a batch, the median; spread: of its times; processor time with one thread on the CPU, else "
        "wall-clock time; MB: the most memory beyond the libraries"
    )
    for model in dict.fromkeys(one.load.model for one in measured):
        yield model
        yield HEAD
        yield from (one.row() for one in measured if one.load.model == model)


def picture(measured: Sequence[Measured]) -> str:
    """An SVG with a bar for each measurement: images per second."""
    most = max(one.per_second for one in measured)
    rows = []
    for number, one in enumerate(measured):
        top, load = 24 + 26 * number, one.load
        name = f"{Path(load.model).name}, {load.size[0]}x{load.size[1]}, batch {load.batch}, "
        name += f"{load.threads} thread{'s' * (load.threads > 1)}, {load.device}"
        rows.append(
            f'<text x="8" y="{top + 15}">{name}</text>'
            f'<rect x="400" y="{top}" width="{280 * one.per_second / most:.1f}" height="20" fill="#1668b8"/>'
            f'<text x="{408 + 280 * one.per_second / most:.1f}" y="{top + 15}">{one.per_second:.1f}</text>'
        )
    height = 36 + 26 * len(measured)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" '
        'style="font-family:sans-serif;font-size:12px;background:#fff">'
        '<text x="400" y="16">images per second</text>' + "".join(rows) + "</svg>\n"
    )


if __name__ == "__main__":
    print(json.dumps(_measure(Load(**{**(asked := json.loads(sys.argv[1])), "size": tuple(asked["size"])}))))
