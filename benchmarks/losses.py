"""Measures regularizers against their straightforward torch forms: time and memory of a step.

    python benchmarks/losses.py --threads 1

A step is the loss and its backward pass on probabilities N x C x h x w over images of 4 h - 3 x 4 w - 3
pixels, which a loss at stride 4 averages down. Each contender runs in a process of its own, the
straightforward form in turn with ours, so that both meet the same load. The time is the least of the rounds,
the memory what the process needs at most beyond what it holds before the first step.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, unfold

from rlossctl.losses import gated_crf_loss

SIZES = ((12, 21, 65, 65), (8, 21, 129, 129))
Step = Callable[[Tensor, Tensor], Tensor]  # image, prob -> loss


@dataclass(frozen=True)
class Entry:
    """A loss, and the torch form that everyone writes first."""

    ours: Step
    straightforward: Step


def unfolded_gated_crf(image: Tensor, prob: Tensor, radius: int = 5) -> Tensor:
    """The Gated CRF loss by unfolding the windows of features and probabilities: N C (2r+1)^2 h w numbers."""
    images, _, height, width = prob.shape
    side = 2 * radius + 1
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = torch.stack([columns, rows]).to(prob).expand(images, 2, height, width) / 6
    features = torch.cat([place, adaptive_avg_pool2d(image, (height, width)) / 0.1], 1)

    def windows(planes: Tensor) -> Tensor:
        return unfold(planes, side, padding=radius).view(images, -1, side**2, height, width)

    apart = (windows(features) - features.unsqueeze(2)).square().sum(1)
    kernel = (apart / -2).exp() * windows(torch.ones_like(prob[:, :1]))[:, 0]
    kernel[:, side**2 // 2] = 0
    alike = (windows(prob) * prob.unsqueeze(2)).sum(1)
    return (kernel * (1 - alike)).sum() / (images * height * width)


ENTRIES = {"GatedCRFLoss": Entry(gated_crf_loss, unfolded_gated_crf)}


def main() -> None:
    options = parse()
    if options.worker:
        measure(*options.worker, options.threads)
        return
    print(f"threads {options.threads}, rounds {options.rounds}")
    print(f"{'loss':14} {'sizes':16} {'ours':>22} {'straightforward':>22} {'faster':>8} {'memory':>8}")
    for name in options.losses:
        for sizes in SIZES:
            compare(name, "x".join(map(str, sizes)), options)


def compare(name: str, sizes: str, options: argparse.Namespace) -> None:
    """Prints one line."""
    rounds: dict[str, list[dict[str, float]]] = {"ours": [], "straightforward": []}
    for _ in range(options.rounds):
        for form, found in rounds.items():
            command = [sys.executable, __file__, "--threads", str(options.threads)]
            done = subprocess.run([*command, "--worker", name, form, sizes], capture_output=True, check=True)
            found.append(json.loads(done.stdout))
    seconds = {form: min(one["seconds"] for one in found) for form, found in rounds.items()}
    memory = {form: max(one["memory"] for one in found) for form, found in rounds.items()}
    values = [found[0]["value"] for found in rounds.values()]
    if abs(values[0] - values[1]) > 1e-4 * abs(values[1]):
        sys.exit(f"{name} at {sizes}: {values[0]} and {values[1]} are not the same loss")
    cells = [f"{1e3 * seconds[form]:9.1f} ms {memory[form] / 2**20:6.0f} MiB" for form in rounds]
    ratios = [table["straightforward"] / table["ours"] for table in (seconds, memory)]
    print(
        f"{name:14} {sizes:16} {cells[0]:>22} {cells[1]:>22} {ratios[0]:7.1f}x {ratios[1]:7.1f}x", flush=True
    )


def measure(name: str, form: str, sizes: str, threads: str | int) -> None:
    """A worker's measurement, as JSON."""
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    images, classes, height, width = map(int, sizes.split("x"))
    image = torch.nn.functional.interpolate(
        torch.randn(images, 3, height // 4, width // 4), (4 * height - 3, 4 * width - 3), mode="bilinear"
    )
    prob = torch.randn(images, classes, height, width).softmax(1).requires_grad_()
    step: Step = getattr(ENTRIES[name], form)
    step(image[:1, :, :33, :33], prob[:1, :, :9, :9]).backward()  # loads everything that is loaded once
    before, times = peak(), []
    for _ in range(3):
        prob.grad, start = None, time.perf_counter()
        loss = step(image, prob)
        loss.backward()
        times.append(time.perf_counter() - start)
    print(json.dumps({"seconds": min(times), "memory": peak() - before, "value": loss.item()}))


def peak() -> int:
    """The most memory that this process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--losses", nargs="+", choices=list(ENTRIES), default=list(ENTRIES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
