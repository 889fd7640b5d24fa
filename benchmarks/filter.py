"""Runs `rlossctl bench filter` with one more contender, which only a checkout has: the original's scheme.

    python benchmarks/filter.py --sizes 41 129 257 321 --threads 1

`channelwise` is one_channel.cpp beside this file, compiled with g++ in a temporary folder: the original
DenseCRF loss, one channel at a time, rewritten from its description and compiled with its flags. The native
kernel's speed-up is how many times slower `channelwise` is.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
from pathlib import Path

import torch

from rlossctl.bench.contenders import Contender, contenders
from rlossctl.bench.measure import Job
from rlossctl.bench.table import table

SOURCE = Path(__file__).with_name("one_channel.cpp")


def main() -> None:
    options = vars(parse())
    sizes, others = options.pop("sizes"), options.pop("others")
    native, *rest = contenders()
    job = Job(sizes[0], "smooth", **options)
    for line in table([native, channelwise(job.threads), *(rest if others else [])], sizes, job):
        print(line, flush=True)


def channelwise(threads: int) -> Contender:
    """Compiles one_channel.cpp and wraps it as a contender."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "one_channel.so"
        flags = ["-std=c++17", "-O2", "-fopenmp", "-fPIC", "-shared"]
        subprocess.run(["g++", *flags, str(SOURCE), "-o", str(library)], check=True)
        loaded = ctypes.CDLL(str(library))
    numbers = [*[ctypes.c_int] * 4, *[ctypes.c_float] * 2, ctypes.c_int]
    filter_function, loss_function = loaded.one_channel_filter, loaded.one_channel_loss
    filter_function.restype, filter_function.argtypes = None, [*[ctypes.c_void_p] * 3, *numbers]
    loss_function.restype, loss_function.argtypes = ctypes.c_double, [*[ctypes.c_void_p] * 4, *numbers]

    def apply(values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> torch.Tensor:
        filtered = torch.empty_like(values)
        addresses = (tensor.data_ptr() for tensor in (values, image, filtered))
        filter_function(*addresses, *values.shape, sigma_xy, sigma_rgb, threads)
        return filtered

    def loss(
        values: torch.Tensor, mask: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float
    ) -> torch.Tensor:
        gradient = torch.empty_like(values)
        addresses = (tensor.data_ptr() for tensor in (values, mask, image, gradient))
        loss_function(*addresses, *values.shape, sigma_xy, sigma_rgb, threads)
        return gradient

    return Contender("channelwise", "the original's scheme, one channel at a time", apply, loss)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[41, 129, 257, 321], help="side of the images"
    )
    parser.add_argument("--channels", type=int, default=21, help="classes (default 21)")
    parser.add_argument("--batch", type=int, default=1, help="images per call (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="threads per filter (default 1)")
    parser.add_argument("--sigma-xy", type=float, default=100, help="pixels (default 100)")
    parser.add_argument("--sigma-rgb", type=float, default=15, help="units of 0..255 (default 15)")
    parser.add_argument("--repeats", type=int, default=7, help="timed turns (default 7)")
    parser.add_argument(
        "--others", action="store_true", help="also run the other contenders of `rlossctl bench filter`"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
