"""Times the filter for points on the two inputs of WarpConvNet's permutohedral benchmark.

    python benchmarks/cuda_points.py --json figures.json
    python benchmarks/cuda_points.py --device cpu --points 2000 --side 32 --repeats 2

Prints milliseconds (medians): "filter" builds the lattice and filters, "kept" filters with a kept lattice,
"theirs" is what WarpConvNet's authors state for their card, "target" is the design goal for an H200. Points
are uniform in a box; the image is one of the demo's scenes, with places and colours as features.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from rlossctl.bilateral import Lattice, filter
from rlossctl.data.scenes.scene import draw_scene

SPREAD = 4.0  # side of the box of points, in standard deviations
SIGMAS = 50.0, 15.0
COLUMNS = ("filter", "kept", "theirs", "target")


class Input(NamedTuple):
    """Features [N, d], and the two figures that ours stand beside, in milliseconds."""

    name: str
    features: torch.Tensor
    theirs: float
    target: float = 1.0


def inputs(points: int, side: int) -> list[Input]:
    """Points with six features, and an image with five."""
    generator = torch.Generator().manual_seed(0)
    photo, _ = draw_scene(np.random.default_rng(0), (side, side))
    rows, columns = np.mgrid[:side, :side].reshape(2, -1)
    colours = photo.reshape(-1, 3) / SIGMAS[1]
    image = np.concatenate([columns[:, None] / SIGMAS[0], rows[:, None] / SIGMAS[0], colours], 1)
    return [
        Input(f"{points} points, d 6", SPREAD * torch.rand(points, 6, generator=generator), 7.2),
        Input(f"{side} x {side}, d 5", torch.from_numpy(image.astype(np.float32)), 11.0),
    ]


def main() -> None:
    arguments = parse()
    print(f"{arguments.device}, {arguments.channels} channels; ms")
    print(f"{'input':>20}" + "".join(f"{name:>10}" for name in COLUMNS))
    rows = []
    for given in inputs(arguments.points, arguments.side):
        times = measure(given, arguments)
        print(f"{given.name:>20}" + "".join(f"{times[name]:>10.3f}" for name in COLUMNS), flush=True)
        rows.append({"input": given.name, **times})
        if arguments.json:  # after every input, so that an interrupted run keeps its results
            arguments.json.write_text(json.dumps({"device": arguments.device, "inputs": rows}, indent=2))


def measure(given: Input, arguments: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds for each column."""
    features = given.features.to(arguments.device)
    values = torch.rand(len(features), arguments.channels, device=arguments.device)
    lattice = Lattice.of(features)
    return {
        "filter": milliseconds(lambda: filter(features, values), arguments),
        "kept": milliseconds(lambda: lattice.filter(values), arguments),
        "theirs": given.theirs,
        "target": given.target,
    }


def milliseconds(run: Callable[[], object], arguments: argparse.Namespace) -> float:
    """Median time of a call that the device has finished; the first three calls do not count."""
    wait = torch.cuda.synchronize if arguments.device.startswith("cuda") else lambda: None
    times = []
    for repeat in range(arguments.repeats + 3):
        wait()
        start = time.perf_counter()
        run()
        wait()
        if repeat >= 3:
            times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--points", type=int, default=196_608)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
