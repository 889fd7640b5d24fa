"""Times the bilateral filter's CUDA kernels and the twin on the same GPU.

    python benchmarks/cuda_filter.py --sizes 41 129 257 321 513 --json figures.json

Prints milliseconds for a whole batch (medians, measured with CUDA events). "loss" is the DenseCRF loss's
value and gradient in one pass; "graph" is the same as a CUDA graph, without the host's launch overhead;
"fixed" has deterministic sums; "kept" is only the filter, with kept lattices; "exact" is the Gaussian sum (up
to --exact-up-to); "twin" is only the filter in torch code, which runs if the kernels are not built. Two
floors follow, which a lattice cannot go below: "bytes" is the time to read scores and image and to write the
gradient, and "work" is the time for the multiplications and additions of splat and slice. They use the rates
that this card reaches in a plain copy and in a float32 matrix product. "target" is the design goal for an
H200 with the default batch and classes. Images are the demo's scenes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from rlossctl.bilateral import backend, cuda, exact, twin
from rlossctl.bilateral.choice import CUDA
from rlossctl.data.scenes.scene import draw_scene

TARGETS = {41: 0.05, 129: 0.25, 257: 0.6}  # milliseconds
SIGMAS = 100.0, 15.0
VERTICES = 6  # in a simplex, with three colours
COLUMNS = ("loss", "graph", "fixed", "kept", "exact", "twin", "bytes", "work", "target")


def main() -> None:
    arguments = parse()
    chosen = backend("cuda")
    if chosen.name != CUDA:
        sys.exit(f"nothing to measure: {chosen.reason}")
    bandwidth, rate = measure_bandwidth(), measure_rate()
    print(
        f"{torch.cuda.get_device_name()}: {bandwidth / 1e9:.0f} GB/s in a copy, {rate / 1e12:.1f} TFLOP/s in "
        f"a product; K={arguments.classes}, batch {arguments.batch}, sigma {SIGMAS}; ms per batch"
    )
    print(f"{'size':>5}" + "".join(f"{name:>10}" for name in COLUMNS))
    rows: list[dict[str, float | None]] = []
    for size in arguments.sizes:
        times = measure(size, arguments)
        scores = arguments.batch * arguments.classes * size * size
        times["bytes"] = (2 * scores + 4 * arguments.batch * size * size) * 4 / bandwidth * 1e3
        times["work"] = 2 * 2 * scores * VERTICES / rate * 1e3
        times["target"] = TARGETS.get(size)
        cells = (f"{'-':>10}" if times[name] is None else f"{times[name]:>10.3f}" for name in COLUMNS)
        print(f"{size:>5}" + "".join(cells), flush=True)
        rows.append({"size": size, **{name: times[name] for name in COLUMNS}})
        if arguments.json:  # after every size, so that an interrupted run keeps its results
            rates = {"GB/s in a copy": bandwidth / 1e9, "TFLOP/s in a product": rate / 1e12}
            setting = {"classes": arguments.classes, "batch": arguments.batch}
            arguments.json.write_text(json.dumps({**rates, **setting, "sizes": rows}, indent=2))


def measure(size: int, arguments: argparse.Namespace) -> dict[str, float | None]:
    """Median milliseconds per batch, for each column."""
    rng = np.random.default_rng(size)
    photos = np.stack([draw_scene(rng, (size, size))[0] for _ in range(arguments.batch)])
    image = torch.from_numpy(photos).cuda().permute(0, 3, 1, 2).float().contiguous()
    seg = torch.randn(arguments.batch, arguments.classes, size, size, device="cuda").softmax(1)
    mask = torch.ones(arguments.batch, 1, size, size, device="cuda")

    def loss(deterministic: bool = False) -> tuple[torch.Tensor | None, torch.Tensor]:
        return cuda.densecrf(seg, mask, image, *SIGMAS, -2 / len(seg), deterministic=deterministic)

    repeats, lattices = arguments.repeats, cuda.Lattices(image, *SIGMAS)
    times: dict[str, float | None] = {
        "loss": milliseconds(loss, repeats),
        "graph": milliseconds(recorded(loss), repeats),
        "fixed": milliseconds(lambda: loss(True), repeats),
        "kept": milliseconds(lambda: lattices.filter(seg), repeats),
        "exact": None,
        "twin": milliseconds(lambda: twin.lattice_filter(seg, image, *SIGMAS), max(repeats // 10, 3)),
    }
    if size <= arguments.exact_up_to:
        cutoff = exact.cutoff(seg)
        times["exact"] = milliseconds(lambda: cuda.exact_filter(seg, image, *SIGMAS, cutoff), repeats)
    return times


def milliseconds(run: Callable[[], object], repeats: int) -> float:
    """Median time of a call on the device; the first three calls do not count."""
    times = []
    for repeat in range(repeats + 3):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        if repeat >= 3:
            times.append(start.elapsed_time(end))
    return statistics.median(times)


def recorded(run: Callable[[], object]) -> Callable[[], object]:
    """The same work as a CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def measure_bandwidth() -> float:
    """Bytes per second, read plus written, when copying 1 GiB."""
    source = torch.zeros(2**28, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / (milliseconds(lambda: target.copy_(source), 20) * 1e-3)


def measure_rate() -> float:
    """Float32 operations per second of a matrix product without tensor cores."""
    torch.backends.cuda.matmul.allow_tf32 = False
    a = torch.randn(8192, 8192, device="cuda")
    return 2 * 8192**3 / (milliseconds(lambda: a @ a, 10) * 1e-3)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sizes = [41, 129, 257, 321, 513]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes, help="side of the images")
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--exact-up-to", type=int, default=321, metavar="SIZE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
