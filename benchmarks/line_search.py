"""Tests each mode's gradient in an optimizer that relies on it: L-BFGS with a line search.

    python benchmarks/line_search.py --seeds 0 1 2

Fits the scores of one of the demo's scenes, starting from 0, to its scribbles plus the DenseCRF loss, until
the line search cannot improve the objective. Prints the objective reached in each mode and how often it was
evaluated. lattice and symmetric have the same objective; only the gradients differ. There are many local
minima, so small differences mean little.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from rlossctl.data.scenes.scene import CLASSES, draw_scene
from rlossctl.data.weak.scribble import make_scribbles
from rlossctl.losses import densecrf_loss

SIZE, SIGMAS, WEIGHT = 96, (20, 15), 3e-7


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="scenes")
    parser.add_argument("--iterations", type=int, default=300, help="most L-BFGS iterations (default 300)")
    arguments = parser.parse_args()
    print(f"{'seed':>4}{'mode':>11}{'objective':>14}{'evaluations':>13}{'last gradient':>15}")
    for seed in arguments.seeds:
        for mode in ("lattice", "symmetric"):
            objective, evaluations, slope = fit(seed, mode, arguments.iterations)
            print(f"{seed:>4}{mode:>11}{objective:>14.8f}{evaluations:>13}{slope:>15.1e}", flush=True)


def fit(seed: int, mode: str, iterations: int) -> tuple[float, int, float]:
    """The objective reached, the number of evaluations, and the norm of the last gradient."""
    photo, mask = draw_scene(np.random.default_rng(seed), (SIZE, SIZE))
    scribbles = torch.from_numpy(make_scribbles(mask, seed=seed)).long()[None]
    image = torch.from_numpy(photo).permute(2, 0, 1).float()[None]
    scores = torch.zeros(1, len(CLASSES), SIZE, SIZE, requires_grad=True)
    whole = torch.ones(1, SIZE, SIZE)
    evaluations = 0

    def objective() -> torch.Tensor:
        nonlocal evaluations
        evaluations += 1
        scores.grad = None
        fidelity = torch.nn.functional.cross_entropy(scores, scribbles, ignore_index=255)
        loss = fidelity + WEIGHT * densecrf_loss(image, scores.softmax(1), whole, *SIGMAS, mode)
        loss.backward()
        return loss

    optimizer = torch.optim.LBFGS(
        [scores], max_iter=iterations, line_search_fn="strong_wolfe", tolerance_change=0
    )
    optimizer.step(objective)
    return objective().item(), evaluations - 1, scores.grad.norm().item()


if __name__ == "__main__":
    main()
