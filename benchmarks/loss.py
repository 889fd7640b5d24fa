"""Times the DenseCRF loss, forward and backward, against one bare call of the filter.

    python benchmarks/loss.py --sizes 41 129 257 321 --threads 2

Prints milliseconds per image (medians; all take turns in each repeat, so that a busy machine slows all of
them). "loss" is what the layer runs: it knows its loss weight, and a gradient from above equal to it costs
nothing more; "unexpected" gets another one, which costs one product over the classes' planes. "planes" times
a single product of such planes by a number, into new memory, for scale. Images are the demo's scenes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from rlossctl.bilateral import backend, bilateral_filter
from rlossctl.bilateral.ops import MODES
from rlossctl.data.scenes import draw_scene
from rlossctl.losses import densecrf_loss

NAMES = ("filter", "loss", "unexpected", "planes")


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    chosen = backend("cpu")
    print(
        f"mode {arguments.mode}, K={arguments.classes}, batch {arguments.batch}, "
        f"{arguments.threads} threads, sigma 100 and 15; {chosen.name}: {chosen.reason}; ms per image"
    )
    print(f"{'size':>5}" + "".join(f"{name:>12}" for name in NAMES) + f"{'loss / filter':>15}")
    for size in arguments.sizes:
        times = measure(size, arguments)
        cells = "".join(f"{times[name]:>12.2f}" for name in NAMES)
        print(f"{size:>5}{cells}{times['loss'] / times['filter']:>15.2f}", flush=True)


def measure(size: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds per image of each."""
    rng = np.random.default_rng(size)
    photos = [draw_scene(rng, (size, size))[0] for _ in range(arguments.batch)]
    image = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float().contiguous()
    seg = torch.randn(arguments.batch, arguments.classes, size, size).softmax(1).requires_grad_()
    mask = torch.ones(arguments.batch, 1, size, size)

    def step(upstream: float) -> None:
        seg.grad = None
        loss = densecrf_loss(image, seg, mask, 100, 15, arguments.mode, upstream=1e-8)
        (upstream * loss).backward()

    runs = {
        "filter": lambda: bilateral_filter(seg.detach(), image, 100, 15, arguments.mode),
        "loss": lambda: step(1e-8),
        "unexpected": lambda: step(2e-8),
        "planes": lambda: seg.detach() * 0.5,
    }
    return {
        name: median * 1e3 / arguments.batch for name, median in take_turns(runs, arguments.repeats).items()
    }


def take_turns(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each; one round before them is not counted."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat > 0:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(measured) for name, measured in times.items()}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[41, 129, 257, 321], help="side of the images"
    )
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mode", choices=MODES, default="lattice")
    parser.add_argument("--repeats", type=int, default=9)
    return parser.parse_args()


if __name__ == "__main__":
    main()
