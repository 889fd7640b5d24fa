"""Prints the loss curve of a training run, averaged over windows of iterations.

python benchmarks/curve.py runs/pce/metrics.jsonl --every 500
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("metrics", type=Path, help="metrics.jsonl from `rlossctl train`")
    parser.add_argument("--every", type=int, default=500, help="iterations per window")
    arguments = parser.parse_args()
    records = [json.loads(line) for line in arguments.metrics.read_text().splitlines()]
    steps = [record for record in records if record["kind"] == "train"]
    names = list(steps[0]["terms"])
    print("iterations    " + "".join(f"{name:>16}" for name in names) + "   s/iteration")
    for start in range(0, len(steps), arguments.every):
        window = steps[start : start + arguments.every]
        means = [statistics.fmean(record["terms"][name]["weighted"] for record in window) for name in names]
        pace = statistics.median(record["seconds"] for record in window)
        span = f"{window[0]['iter']}-{window[-1]['iter']}"
        print(f"{span:<14}" + "".join(f"{mean:>16.4f}" for mean in means) + f"{pace:>14.3f}")


if __name__ == "__main__":
    main()
