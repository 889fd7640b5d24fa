"""rlossctl: runs and trains Caffe's segmentation nets and regularized losses in PyTorch.

    net = rlossctl.load_net("test.prototxt", "train_iter_9000.caffemodel", NUM_LABELS=21)
    outputs = net(data=image, label=label)

    run = rlossctl.train("solver.prototxt", out="runs/a", NUM_LABELS=21)

    solver = rlossctl.load_solver("solver.prototxt", NUM_LABELS=21)
    solver.step(100)

    loss = rlossctl.DenseCRFLoss(weight=2e-9, sigma_rgb=15, sigma_xy=100, scale_factor=0.5)

Importing the package is cheap: torch is loaded on first use of one of the names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl import lazy

if TYPE_CHECKING:
    from rlossctl.converters import convert as convert
    from rlossctl.evaluation.evaluate import evaluate as evaluate
    from rlossctl.losses import DenseCRFLoss as DenseCRFLoss
    from rlossctl.net import Net as Net
    from rlossctl.net import load_net as load_net
    from rlossctl.solver import Solver as Solver
    from rlossctl.solver import load_solver as load_solver
    from rlossctl.solver.calling import train as train
    from rlossctl.solver.telling.listeners import Listener as Listener
    from rlossctl.trust import python_layers_allowed as python_layers_allowed

__version__ = "0.1.0"

_HOMES = {
    "DenseCRFLoss": "rlossctl.losses",
    "Listener": "rlossctl.solver.telling.listeners",
    "Net": "rlossctl.net",
    "Solver": "rlossctl.solver",
    "convert": "rlossctl.converters",
    "evaluate": "rlossctl.evaluation",
    "load_net": "rlossctl.net",
    "load_solver": "rlossctl.solver",
    "python_layers_allowed": "rlossctl.trust",
    "train": "rlossctl.solver.calling",
}

__all__ = [*_HOMES, "__version__"]


__getattr__ = lazy.exports(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
