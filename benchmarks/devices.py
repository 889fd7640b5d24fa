"""Compares one model's scores on a GPU and on the CPU: `rlossctl eval --device cuda` and `--device cpu`.

    python benchmarks/devices.py --device cuda --images 12 --json figures.json

Trains the demo's net on generated images (configs/demo, on the device), then evaluates it on both devices
with the command line, as a user would: by PyTorch, and as ONNX by ONNX Runtime in float32 and float16. Prints
mIoU and pixel accuracy for each, their differences, and the share of pixels whose class differs (a lower
bound, from the confusion matrices). Scores differ in their last bits, and both runtimes may use TF32 on a
GPU, so the class may differ at pixels where two are nearly equally probable.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from rlossctl.data.scenes.dataset import SYNTHETIC_CLASSES, generate_dataset
from rlossctl.resources import configs_dir

SIDE = 129
CUDA = "CUDAExecutionProvider"
# What runs the model, and the options of `convert` for it; None: the prototxt itself.
RUNTIMES: dict[str, tuple[str, ...] | None] = {
    "PyTorch": None,
    "ONNX": (),
    "ONNX fp16": ("--precision", "fp16"),
}


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        figures = compare(Path(folder), arguments)
    for name, value in figures.items():
        print(f"{name:<40} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


def compare(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures for both devices."""
    data = generate_dataset(folder / "data", train=arguments.images, val=arguments.images, size=(SIDE, SIDE))
    values = {
        "DATA_ROOT": data,
        "TRAIN_LIST": data / "list" / "train_full.txt",
        "TEST_LIST": data / "list" / "val.txt",
        "NUM_LABELS": len(SYNTHETIC_CLASSES),
    }
    settings = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    configs = configs_dir() / "demo"
    rlossctl(
        *("train", "--prototxt", configs / "train.prototxt", "--solver", configs / "solver.prototxt"),
        *(
            "--max-iter",
            arguments.updates,
            "--device",
            arguments.device,
            "--out",
            folder / "run",
            "--seed",
            0,
        ),
        *settings,
    )
    (weights,) = (folder / "run").glob(f"*_iter_{arguments.updates}.caffemodel")
    net = (configs / "test.prototxt", weights)
    figures: dict[str, Any] = {}
    for name, options in RUNTIMES.items():
        model: tuple[Path, ...] = net
        given = settings
        if options is not None:
            model, given = (folder / f"{name.replace(' ', '_')}.onnx",), []
            rlossctl("convert", *net, "--out", *model, *options, *settings)
        if options is None or CUDA in onnxruntime.get_available_providers() or arguments.device == "cpu":
            figures |= {
                f"{name}: {key}": value for key, value in both(folder, model, given, arguments.device).items()
            }
        else:
            figures[f"{name}: left out"] = f"this onnxruntime has no {CUDA}"
    return figures


def both(folder: Path, model: tuple[Path, ...], settings: list[str], device: str) -> dict[str, Any]:
    """Evaluates a model on the CPU and on the device; `settings` give the list to a prototxt's data layer."""
    results = []
    for place in ("cpu", device):
        file = folder / "scores.json"
        listed = settings or [
            "--data",
            str(folder / "data" / "list" / "val.txt"),
            "--root",
            str(folder / "data"),
        ]
        rlossctl("eval", *model, "--device", place, "--json", file, *listed)
        results.append(json.loads(file.read_text()))
    return differences(*results, device)


def differences(cpu: dict[str, Any], other: dict[str, Any], device: str) -> dict[str, Any]:
    """Scores side by side, from `eval`'s JSON."""
    matrices = [np.array(result["confusion"], dtype=np.int64) for result in (cpu, other)]
    moved = np.abs(matrices[0] - matrices[1]).sum() / 2
    figures: dict[str, Any] = {"images": cpu["images"], "run by": other["backend"]}
    for score in ("miou", "pixel_accuracy"):
        figures[f"{score} on cpu"], figures[f"{score} on {device}"] = cpu[score], other[score]
        figures[f"{score}, difference"] = other[score] - cpu[score]
    figures["pixels of another class, share (at least)"] = float(moved / matrices[0].sum())
    figures["images per second on cpu"] = cpu["images"] / cpu["seconds"]
    figures[f"images per second on {device}"] = other["images"] / other["seconds"]
    return figures


def rlossctl(*words: object) -> None:
    """Runs the command line."""
    subprocess.run([sys.executable, "-m", "rlossctl", *map(str, words)], check=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="the device to compare with the CPU (default cuda)")
    parser.add_argument("--images", type=int, default=12, help="images to train and score on (default 12)")
    parser.add_argument("--updates", type=int, default=200, help="training steps (default 200)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
