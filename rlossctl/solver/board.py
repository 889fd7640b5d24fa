"""The figures of a run as TensorBoard events (extra: tensorboard)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rlossctl.optional import needed


class Board:
    """Takes the records of a Log and writes scalars: loss, lr and every term of the objective by iteration.

    Raises:
        RlossError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        needed("tensorboard", "TensorBoard is not installed", None, otherwise="leave out --tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def record(self, kind: str, figures: Mapping[str, object]) -> None:
        """One record of the JSON lines; only those of kind "train" and "test" hold scalars."""
        if kind == "train":
            step = figures["iter"]
            for name in ("loss", "smoothed_loss", "lr"):
                self._writer.add_scalar(f"train/{name}", figures[name], step)
            for name, term in figures["terms"].items():
                self._writer.add_scalar(f"terms/{name}", term["weighted"], step)
        elif kind == "test":
            for name, values in figures["outputs"].items():
                for index, value in enumerate(values):
                    suffix = f"/{index}" if len(values) > 1 else ""
                    self._writer.add_scalar(f"test{figures['net']}/{name}{suffix}", value, figures["iter"])

    def close(self) -> None:
        """Writes what is pending."""
        self._writer.close()
