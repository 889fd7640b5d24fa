"""Times the filter in each mode on one thread: processor milliseconds for a textured image with 21 classes.

python benchmarks/modes.py --sizes 41 129 257
"""

from __future__ import annotations

import argparse
import time

import torch

from rlossctl.bench.samples import picture, scores
from rlossctl.bilateral import backend, bilateral_filter
from rlossctl.bilateral.ops import MODES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[41, 129, 257], help="side of the image")
    parser.add_argument("--repeats", type=int, default=5, help="number of turns; the best counts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{backend('cpu').name}: {backend('cpu').reason}")
    print(f"{'size':>5}" + "".join(f"{mode:>12}" for mode in MODES))
    for size in arguments.sizes:
        tensors = scores(1, 21, size), picture("textured", 1, size)
        best = dict.fromkeys(MODES, float("inf"))
        for _ in range(arguments.repeats):
            for mode in MODES:
                start = time.process_time()
                bilateral_filter(*tensors, 100, 15, mode)
                best[mode] = min(best[mode], (time.process_time() - start) * 1e3)
        print(f"{size:>5}" + "".join(f"{best[mode]:>12.2f}" for mode in MODES), flush=True)


if __name__ == "__main__":
    main()
