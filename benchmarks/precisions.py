"""Compares ONNX files of one net in several precisions: size, time on the CPU, and mIoU on a list.

    python benchmarks/precisions.py fp32.onnx fp16.onnx int8.onnx --data val.txt --root DIR

The time is for bare session runs on the list's first images, prepared beforehand. Rounds alternate between
the files, and the best of each counts, since other work on the machine only ever slows a round down.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from rlossctl.data.images import read_image
from rlossctl.data.lists import Sample
from rlossctl.evaluation import OnnxRunner, Predictor, evaluate
from rlossctl.evaluation.running.open_model import open_list


def times(runners: dict[str, OnnxRunner], samples: list[Sample], rounds: int) -> dict[str, float]:
    """Milliseconds per image for each model."""
    predictor = Predictor(next(iter(runners.values())))
    inputs = [predictor.prepare(read_image(sample.image))[0].pixels[None] for sample in samples]
    best = dict.fromkeys(runners, np.inf)
    for _ in range(rounds):
        for name, runner in runners.items():
            start = time.perf_counter()
            for pixels in inputs:
                runner.scores(pixels)
            best[name] = min(best[name], time.perf_counter() - start)
    return {name: 1000 * seconds / len(inputs) for name, seconds in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("models", nargs="+", help="ONNX files that return scores")
    parser.add_argument("--data", required=True, help="list of `image label` lines or VOC ids")
    parser.add_argument("--root", default="", help="root folder of the list")
    parser.add_argument("--images", type=int, default=20, help="images to time (default 20)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds over these images (default 5)")
    arguments = parser.parse_args()
    samples = open_list(arguments.data, arguments.root)
    runners = {model: OnnxRunner(model, "cpu") for model in arguments.models}
    taken = times(runners, samples[: arguments.images], arguments.rounds)
    print(f"{next(iter(runners.values())).backend}; {len(samples)} images")
    print(f"{'':<24}{'MB':>8}{'ms per image':>14}{'mIoU':>8}")
    for model, runner in runners.items():
        miou = 100 * evaluate(runner, samples, progress=False).miou()
        size = Path(model).stat().st_size / 1e6
        print(f"{Path(model).name:<24}{size:>8.1f}{taken[model]:>14.1f}{miou:>8.2f}")


if __name__ == "__main__":
    main()
