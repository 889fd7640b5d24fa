"""Times the bilateral filter: the native kernel, the twin and a scheme of one channel at a time.

    python benchmarks/filter.py --sizes 41 129 257 321 --threads 1

Prints milliseconds per image (the median of the repeats; the three take turns in each repeat, so that a busy
machine slows all of them) and how many times faster than `channelwise` the native kernel is. `channelwise` is
one_channel.cpp beside this file, compiled with g++ into a temporary folder: the original's scheme written
anew, and faster than the original itself. All three pay for the memory of a new output tensor.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from rlossctl.bilateral import backend, bilateral_filter

SOURCE = Path(__file__).with_name("one_channel.cpp")
Filter = Callable[[torch.Tensor, torch.Tensor, float, float], torch.Tensor]


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    filters = {"channelwise": compile_channelwise(arguments.threads), "native": with_kernel("native")}
    if not arguments.no_twin:
        filters["twin"] = with_kernel("twin")
    print(
        f"K={arguments.channels} batch={arguments.batch} threads={arguments.threads} "
        f"sigma=({arguments.sigma_xy:g}, {arguments.sigma_rgb:g}); {backend('cpu').reason}; ms per image"
    )
    names = "".join(f"{name:>12}" for name in filters)
    print(f"{'size':>5} {'image':<9}{names}{'speed-up':>10}{'difference':>12}")
    for size in arguments.sizes:
        for kind in ("smooth", "textured"):
            print(f"{size:>5} {kind:<9}{row(filters, kind, size, arguments)}", flush=True)


def row(filters: dict[str, Filter], kind: str, size: int, arguments: argparse.Namespace) -> str:
    """One line of the table: times, the speed-up of native and its relative difference from channelwise."""
    image = picture(kind, arguments.batch, size)
    values = torch.randn(arguments.batch, arguments.channels, size, size).softmax(dim=1)
    results = {}
    times: dict[str, list[float]] = {name: [] for name in filters}
    for repeat in range(arguments.repeats + 1):
        for name, apply in filters.items():
            start = time.perf_counter()
            results[name] = apply(values, image, arguments.sigma_xy, arguments.sigma_rgb)
            if repeat > 0:  # the first is the warm-up
                times[name].append((time.perf_counter() - start) * 1e3 / arguments.batch)
    medians = {name: statistics.median(measured) for name, measured in times.items()}
    difference = (results["native"] - results["channelwise"]).norm() / results["channelwise"].norm()
    cells = "".join(f"{median:>12.2f}" for median in medians.values())
    speed_up = medians["channelwise"] / medians["native"]
    return f"{cells}{speed_up:>9.1f}x{difference.item():>12.1e}"


def picture(kind: str, batch: int, size: int) -> torch.Tensor:
    """Images [batch, 3, size, size] of 0..255: soft patches of colour, with detail if textured."""
    generator = torch.Generator().manual_seed(size)

    def noise(cells: int) -> torch.Tensor:
        coarse = torch.rand(batch, 3, cells, cells, generator=generator)
        return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")

    detail = 0.2 * noise(size // 3) + 0.1 * noise(size) if kind == "textured" else 0.02 * noise(size)
    grey = noise(6).mean(dim=1, keepdim=True)  # the channels of a photo go together
    return ((0.7 * grey + 0.2 * noise(9) + detail).clamp(0, 1) * 255).round()


def with_kernel(kernel: str) -> Filter:
    """The public filter with one kernel forced."""

    def apply(values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> torch.Tensor:
        os.environ["RLOSSCTL_BILATERAL"] = kernel
        return bilateral_filter(values, image, sigma_xy, sigma_rgb)

    return apply


def compile_channelwise(threads: int) -> Filter:
    """Compiles one_channel.cpp and wraps it like the others."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "one_channel.so"
        flags = ["-std=c++17", "-O2", "-fopenmp", "-fPIC", "-shared"]
        subprocess.run(["g++", *flags, str(SOURCE), "-o", str(library)], check=True)
        function = ctypes.CDLL(str(library)).one_channel_filter
    function.restype = None
    pointers, integers, reals = [ctypes.c_void_p] * 3, [ctypes.c_int] * 4, [ctypes.c_float] * 2
    function.argtypes = [*pointers, *integers, *reals, ctypes.c_int]

    def apply(values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> torch.Tensor:
        filtered = torch.empty_like(values)
        addresses = values.data_ptr(), image.data_ptr(), filtered.data_ptr()
        function(*addresses, *values.shape, sigma_xy, sigma_rgb, threads)
        return filtered

    return apply


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[41, 129, 257, 321], help="side of the images"
    )
    parser.add_argument("--channels", type=int, default=21, help="classes (default 21)")
    parser.add_argument("--batch", type=int, default=1, help="images per call (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each filter (default 1)")
    parser.add_argument("--sigma-xy", type=float, default=100, help="pixels (default 100)")
    parser.add_argument("--sigma-rgb", type=float, default=15, help="units of 0..255 (default 15)")
    parser.add_argument("--repeats", type=int, default=7, help="timed repeats (default 7)")
    parser.add_argument("--no-twin", action="store_true", help="leave the slow torch twin out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
