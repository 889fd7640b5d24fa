"""The figures of a run as TensorBoard events, and pictures of a few photos (extra: tensorboard)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.optional import needed
from rlossctl.solver.scoring.pictures import Pictures
from rlossctl.solver.telling.figures import StepFigures, TestFigures
from rlossctl.solver.telling.listeners import Listener

if TYPE_CHECKING:
    from rlossctl.solver.solver import Solver


class Board(Listener):
    """Writes scalars by iteration (loss, lr, terms of the objective, the tests' outputs), and pictures.

    Raises:
        RlossError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        needed("tensorboard", "TensorBoard is not installed", None, otherwise="leave out --tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))
        self._pictures: Pictures | None = None

    def show_pictures(self, solver: Solver) -> None:
        """After tests, also writes pictures of a few photos, where a test net scores whole photos."""
        if solver.test_nets:
            self._pictures = Pictures(solver.net, solver.test_nets[0])

    def updated(self, figures: StepFigures) -> None:
        """The scalars of an update."""
        for name in ("loss", "smoothed_loss", "lr"):
            self._writer.add_scalar(f"train/{name}", getattr(figures, name), figures.iter)
        if figures.momentum is not None:
            self._writer.add_scalar("train/momentum", figures.momentum, figures.iter)
        for name, term in figures.terms.items():
            self._writer.add_scalar(f"terms/{name}", term.weighted, figures.iter)

    def tested(self, figures: TestFigures) -> None:
        """The means of a test net's outputs."""
        for name, values in figures.outputs.items():
            for index, value in enumerate(values):
                suffix = f"/{index}" if len(values) > 1 else ""
                self._writer.add_scalar(f"test{figures.net}/{name}{suffix}", value, figures.iter)
        if self._pictures is not None and figures.net == 0:
            for name, picture in self._pictures.draw():
                self._writer.add_image(name, picture, figures.iter, dataformats="HWC")

    def close(self) -> None:
        """Writes what is pending."""
        self._writer.close()
