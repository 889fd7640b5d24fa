"""How near the lattice of `rlossctl.bilateral.filter` comes to the exact Gaussian sum, for 1 to 6 features.

    python benchmarks/point_filter.py

Prints, for points in clusters and points spread evenly, the multiple of the lattice's result that fits the
exact sum best, what remains (relative, root of squares), and the same after dividing by the filtered ones: a
weighted mean, as most uses of the filter want it.
"""

from __future__ import annotations

import argparse

import torch

from rlossctl.bilateral import filter


def cloud(kind: str, count: int, features: int) -> torch.Tensor:
    """Points [count, features], in units of the standard deviations."""
    generator = torch.Generator().manual_seed(features)
    if kind == "even":
        return torch.rand(count, features, generator=generator) * 6
    centres = torch.randn(8, features, generator=generator) * 2
    spread = torch.randn(count, features, generator=generator) * 0.7
    return centres[torch.randint(8, (count,), generator=generator)] + spread


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--points", type=int, default=2000, help="default 2000")
    count = parser.parse_args().points
    print(f"{count} points\n{'points':<10}{'features':>9}{'factor':>8}{'left':>9}{'mean, left':>12}")
    for kind in ("clusters", "even"):
        for features in range(1, 7):
            points = cloud(kind, count, features)
            values = torch.cat(
                [torch.rand(count, 3, generator=torch.Generator().manual_seed(0)), torch.ones(count, 1)], 1
            )
            exact, found = filter(points, values, "exact"), filter(points, values, "symmetric")
            factor = ((found * exact).sum() / found.square().sum()).item()
            means = [own[:, :3] / own[:, 3:] for own in (found, exact)]
            print(
                f"{kind:<10}{features:>9}{factor:>8.2f}{100 * relative(factor * found, exact):>7.1f} %"
                f"{100 * relative(*means):>10.1f} %"
            )


if __name__ == "__main__":
    main()
