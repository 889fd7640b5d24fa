"""Counts the native DenseCRF loss's instructions per pixel and channel, with valgrind's callgrind.

    python benchmarks/instructions.py --sizes 41 129 257

The count does not depend on other work on the machine. It is the difference between three calls and one,
which leaves out the start-up and the first call's memory. valgrind does not support AVX-512.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from pathlib import Path

from rlossctl.bench.samples import KINDS, picture

TESTS = Path(__file__).resolve().parent.parent / "native" / "tests"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[41, 129, 257], help="side of the images")
    parser.add_argument("--channels", type=int, default=21, help="classes (default 21)")
    parser.add_argument("--sigma-xy", type=float, default=100, help="pixels (default 100)")
    parser.add_argument("--sigma-rgb", type=float, default=15, help="units of 0..255 (default 15)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder))
        print(f"{'size':>5} {'image':<9}{'avx2':>8}{'plain':>8}   instructions per pixel and channel")
        for size in options.sizes:
            for kind in KINDS:
                file = write(Path(folder) / "sample", kind, size)
                counts = [
                    (
                        count(program, file, size, 3, path, options)
                        - count(program, file, size, 1, path, options)
                    )
                    / (2 * size**2 * options.channels)
                    for path in ("avx2", "plain")
                ]
                print(f"{size:>5} {kind:<9}" + "".join(f"{number:>8.2f}" for number in counts), flush=True)


def build(folder: Path) -> Path:
    configure = ["cmake", "-S", str(TESTS), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Release"]
    for command in (configure, ["cmake", "--build", str(folder), "--target", "some_calls"]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "some_calls"


def write(file: Path, kind: str, size: int) -> Path:
    file.write_bytes(picture(kind, 1, size).numpy().tobytes())
    return file


def count(program: Path, file: Path, size: int, calls: int, path: str, options: argparse.Namespace) -> int:
    arguments = [file, size, options.channels, calls, options.sigma_xy, options.sigma_rgb]
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, *map(str, arguments)],
        env={**os.environ, "RLOSSCTL_SIMD": path},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])


if __name__ == "__main__":
    main()
