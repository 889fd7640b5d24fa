"""Times a training step of DeepLab-LargeFOV (configs/deeplab_largeFOV) with and without the DenseCRF loss.

    python benchmarks/training_step.py --batch 20 --threads 2
    python benchmarks/training_step.py --device cuda --repeats 20 --json figures.json

Caffe's solver trains both nets on the same generated images with scribbles, 321x321 and 21 classes, one step
each in turn. Prints each net's median seconds per step and what the term adds: the loss itself, and the
bilinear enlargement to 321x321 and the softmax that the prototxt puts before it. On a machine with other
work, trust the CPU time. On a GPU, each step ends with a synchronisation, and the peak memory that torch used
for a step of each net is printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rlossctl.bilateral import backend
from rlossctl.data.palette import save_label_png
from rlossctl.data.scenes.scene import draw_scene
from rlossctl.data.weak.scribble import make_scribbles
from rlossctl.solver import load_solver
from rlossctl.words import counted

CONFIGS = Path(__file__).resolve().parent.parent / "configs" / "deeplab_largeFOV"
NETS = {"without": "train.prototxt", "with": "trainwithdensecrfloss.prototxt"}
VALUES = {"EXP": ".", "NET_ID": "net", "NUM_LABELS": 21, "TRAIN_SET": "train", "DENSECRF_LOSS_WEIGHT": 1e-8}


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    chosen = backend(arguments.device)
    print(
        f"deeplab_largeFOV, batch {arguments.batch} of {arguments.size}x{arguments.size}, "
        f"{counted(arguments.threads, 'thread')}, torch {torch.__version__}; {chosen.name}: {chosen.reason}"
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_data(root, arguments.batch, arguments.size, arguments.distinct)
        steps = {name: prepare(root, net, arguments) for name, net in NETS.items()}
    walls: dict[str, list[float]] = {name: [] for name in steps}
    works: dict[str, list[float]] = {name: [] for name in steps}
    peaks = dict.fromkeys(steps, 0.0)
    for repeat in range(arguments.repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter(), time.process_time()
            peaks[name] = max(peaks[name], peak_memory(step, arguments.device))
            if repeat > 0:  # the first is the warm-up
                walls[name].append(time.perf_counter() - start[0])
                works[name].append(time.process_time() - start[1])
                print(f"  {name:<8}{walls[name][-1]:9.2f} s{works[name][-1]:9.2f} s of CPU", flush=True)
    figures: dict[str, object] = {"filter": chosen.name, "batch": arguments.batch, "side": arguments.size}
    for kind, times in (("wall clock", walls), ("CPU time", works)):
        without, with_term = (statistics.median(times[name]) for name in ("without", "with"))
        added = [b / a - 1 for a, b in zip(times["without"], times["with"], strict=True)]
        print(
            f"{kind}: step without {without:.2f} s, with {with_term:.2f} s; the term adds "
            f"{statistics.median(added):.1%} (median of pairs, {min(added):.1%}..{max(added):.1%})"
        )
        figures[f"steps per second without the term, {kind}"] = 1 / without
        figures[f"steps per second with the term, {kind}"] = 1 / with_term
        figures[f"share of the term in its step, {kind}"] = 1 - without / with_term
    for name, peak in peaks.items() if arguments.device != "cpu" else ():
        print(f"most memory {name}: {peak / 2**30:.2f} GiB")
        figures[f"most memory {name} the term, GiB"] = peak / 2**30
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


def peak_memory(step: Callable[[], object], device: str) -> float:
    """Runs a whole step; returns torch's peak memory on the GPU in bytes, 0 on the CPU."""
    if device == "cpu":
        step()
        return 0.0
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    return float(torch.cuda.max_memory_allocated())


def write_data(root: Path, count: int, size: int, distinct: int) -> None:
    """Writes generated photos and scribbles, and ./list/train.txt with `count` lines, repeated if needed."""
    rng = np.random.default_rng(0)
    lines = []
    for index in range(min(count, distinct)):
        photo, mask = draw_scene(rng, (size, size))
        Image.fromarray(photo).save(root / f"{index}.png")
        save_label_png(root / f"{index}_label.png", make_scribbles(mask, seed=index), palette=False)
        lines.append(f"/{index}.png /{index}_label.png\n")
    (root / "list").mkdir()
    named = [lines[index % len(lines)] for index in range(count)]
    (root / "list" / "train.txt").write_text("".join(named), encoding="utf-8")


def prepare(root: Path, net: str, arguments: argparse.Namespace) -> Callable[[], object]:
    """Prepares one training step on a batch that is read now, so that reading is not timed."""
    text = (CONFIGS / net).read_text(encoding="utf-8")
    text = text.replace("batch_size: 20", f"batch_size: {arguments.batch}")
    file = root / net
    file.write_text(text.replace("crop_size: 321", f"crop_size: {arguments.size}"), encoding="utf-8")
    solver = load_solver(
        CONFIGS / "solver.prototxt",
        net=file,
        device=arguments.device,
        seed=0,
        source=root / "list" / "train.txt",
        root=root,
        **VALUES,
        DATA_ROOT=root,
    )
    data, label = solver.net.sources["data"].next_batch()
    read = {"data": data, "label": label}
    blobs = {name: torch.from_numpy(array).to(arguments.device) for name, array in read.items()}
    return lambda: solver.step(1, blobs)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=20, help="images per step (default 20, the original's)")
    parser.add_argument("--distinct", type=int, default=20, help="the most photos to generate (default 20)")
    parser.add_argument("--size", type=int, default=321, help="side of the images (default 321)")
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="default: torch's choice"
    )
    parser.add_argument("--repeats", type=int, default=5, help="timed steps per net (default 5)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
