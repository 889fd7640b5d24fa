"""The figures of a run as TensorBoard events (extra: tensorboard)."""

from __future__ import annotations

from pathlib import Path

from rlossctl.optional import needed
from rlossctl.solver.figures import StepFigures, TestFigures
from rlossctl.solver.listeners import Listener


class Board(Listener):
    """Writes scalars: loss, lr and every term of the objective by iteration.

    Raises:
        RlossError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        needed("tensorboard", "TensorBoard is not installed", None, otherwise="leave out --tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

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

    def close(self) -> None:
        """Writes what is pending."""
        self._writer.close()
