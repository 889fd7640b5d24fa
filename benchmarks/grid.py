"""Measures what works on the grid of pixels: the tree energy loss, and dual decomposition.

    python benchmarks/grid.py --threads 1

Milliseconds of processor time for each image, the least of the rounds: the tree energy loss for
12 x 21 x 65 x 65, with and without 64 channels of features, and its parts; dual decomposition for
2 x 21 x 33 x 33, strides 1 and 2, 5 iterations. `--twins` measures dual decomposition in plain torch
operations, too, which takes minutes.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import torch
from torch import Tensor

from rlossctl.grid import dual_decomposition, linear_grids, tree
from rlossctl.losses import tree_energy_loss


def cost(run: Callable[[], object], images: int, rounds: int) -> float:
    """Milliseconds for each image."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times) / images * 1000


def stepped(loss: Callable[..., Tensor], *given: Tensor) -> Callable[[], None]:
    """A call that computes the loss and its gradient."""

    def step() -> None:
        loss(*(tensor.detach().requires_grad_() for tensor in given)).backward()

    return step


def trees(rounds: int) -> None:
    """The tree energy loss."""
    coarse = torch.nn.functional.interpolate(torch.rand(12, 3, 9, 9), (65, 65), mode="bilinear")
    image, prob = coarse + 0.05 * torch.rand(12, 3, 65, 65), torch.randn(12, 21, 65, 65).softmax(1)
    features = 0.1 * torch.randn(12, 64, 65, 65)
    distances = tree.edge_distances(image) + 1
    order, parent = tree.trees_op(distances, 65, 65)
    affinity = torch.rand(12, 65 * 65)
    for name, run in {
        "minimum spanning tree": lambda: tree.trees_op(distances, 65, 65),
        "tree filter": lambda: tree.filter_op(prob.flatten(2), affinity, order, parent),
        "TreeEnergyLoss, forward": lambda: tree_energy_loss(image, prob),
        "TreeEnergyLoss, forward and backward": stepped(lambda p: tree_energy_loss(image, p), prob),
        "the same with features": stepped(lambda p, f: tree_energy_loss(image, p, None, f), prob, features),
    }.items():
        print(f"{name:40}{cost(run, 12, rounds):10.2f} ms")


def chains(rounds: int, label: str) -> None:
    """Dual decomposition."""
    unary, features = torch.randn(2, 21, 33, 33), torch.randn(2, 16, 33, 33)
    weight, bias = 0.1 * torch.randn(441, 32, 1, 1), torch.zeros(441)

    def scores(unary: Tensor, features: Tensor) -> Tensor:
        return dual_decomposition(unary, linear_grids(features, weight, bias, [1, 2])).scores.sum()

    forward = cost(lambda: scores(unary, features), 2, rounds)
    both = cost(stepped(scores, unary, features), 2, rounds)
    print(f"{'dual decomposition' + label:40}{forward:10.1f} ms forward, {both:.1f} ms with its gradient")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--twins", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    trees(options.rounds)
    chains(options.rounds, "")
    if options.twins:
        os.environ["RLOSSCTL_BILATERAL"] = "twin"
        chains(1, ", torch twin")


if __name__ == "__main__":
    main()
