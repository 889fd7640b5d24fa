"""Runs `rlossctl demo` for several seeds and prints the mIoU of each row, with means and differences.

    python benchmarks/demo_seeds.py --seeds 0 1 2 3 4
    python benchmarks/demo_seeds.py --seeds 100 101 --weight 1e-5 --xy 8 --rgb 15

A seed sets the data set and all training runs. One run takes a minute or two.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from rlossctl.demo import DENSECRF, run_demo


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--weight", default=DENSECRF["DENSECRF_LOSS_WEIGHT"], help="DENSECRF_LOSS_WEIGHT")
    parser.add_argument("--xy", default=DENSECRF["BI_XY_STD"], help="BI_XY_STD, pixels")
    parser.add_argument("--rgb", default=DENSECRF["BI_RGB_STD"], help="BI_RGB_STD, grey levels")
    arguments = parser.parse_args()
    densecrf = {
        "DENSECRF_LOSS_WEIGHT": arguments.weight,
        "BI_XY_STD": arguments.xy,
        "BI_RGB_STD": arguments.rgb,
    }
    rows = []
    print(f"weight {arguments.weight}, sigma_xy {arguments.xy}, sigma_rgb {arguments.rgb}")
    print("seed     pCE  + DenseCRF    full  difference", flush=True)
    for seed in arguments.seeds:
        rows.append(run(seed, densecrf))
        print_row(str(seed), rows[-1])
    print_row("mean", [statistics.mean(column) for column in zip(*rows, strict=True)])
    if len(rows) > 1:
        differences = [row[1] - row[0] for row in rows]
        print(f"standard deviation of the difference: {statistics.stdev(differences):.2f}")


def run(seed: int, densecrf: dict[str, str]) -> list[float]:
    """mIoU in percent: pCE, pCE + DenseCRF, full masks."""
    with tempfile.TemporaryDirectory() as folder:
        result = run_demo(Path(folder) / "demo", seed, say=lambda line: None, densecrf=densecrf)
    return [100 * evaluation.confusion.miou() for evaluation in result.evaluations.values()]


def print_row(name: str, row: list[float]) -> None:
    print(f"{name:<5}{row[0]:>7.2f}{row[1]:>12.2f}{row[2]:>8.2f}{row[1] - row[0]:>+12.2f}", flush=True)


if __name__ == "__main__":
    main()
