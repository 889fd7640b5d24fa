"""What the rows' nets see: photos beside their masks and each row's classes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from commands import rlossctl
from labels import with_masks
from recipe import NET
from rows import ROWS

from rlossctl.data.drawing import Panel, legend, montage, overlay, thumbnail
from rlossctl.data.images import read_image, read_label
from rlossctl.data.sets.palettes import find_palette
from rlossctl.evaluation.running.open_model import open_list

_BOX = (320, 240)  # width, height
_OPACITY = 0.6


def pictures(folder: Path, rows: Sequence[str], seed: int, count: int) -> np.ndarray:
    """`count` of the photos that a study scores, spread evenly over its list, so that nobody picks them.

    Args:
        folder: of one data set, labels, split and updates.
        rows: names of the rows' folders, which hold this seed.

    Returns:
        uint8 [H, W, 3] RGB: one line for each photo, one column for each row.

    Raises:
        SystemExit: a row has not been scored with this seed.
    """
    palette = find_palette(folder.name.split("-")[0])
    samples = open_list(str(folder / "lists/scored.txt"), "/")
    chosen = [samples[(2 * place + 1) * len(samples) // (2 * count)] for place in range(count)]
    colours, lines, seen = palette.table, [], set[int]()
    with tempfile.TemporaryDirectory() as scratch:
        for row in rows:
            run = _finished(folder, row, seed)
            _predict(run, [sample.image for sample in chosen], Path(scratch) / row)
        for sample in chosen:
            photo, truth = read_image(sample.image), read_label(str(sample.label))
            found = [read_label(Path(scratch) / row / f"{Path(sample.image).stem}.png") for row in rows]
            seen.update(*(map(int, np.unique(ids)) for ids in (truth, *found)))
            panels = [photo[:, :, ::-1]] + [overlay(photo, ids, _OPACITY, colours) for ids in (truth, *found)]
            captions = ("photo", "truth", *(ROWS[row.split("-")[0]].title for row in rows))
            lines.append([_panel(*pair) for pair in zip(captions, panels, strict=True)])
    sheet = np.asarray(montage(lines))
    names = [palette.names[place] for place in range(len(palette.names))]
    return np.vstack([sheet, legend(sorted(seen - {255}), names, colours, sheet.shape[1])])


def _finished(folder: Path, row: str, seed: int) -> Path:
    """The run of a row and seed."""
    runs = [path.parent for part in with_masks(folder) for path in part.glob("*/seed*/result.json")]
    for run in runs:
        if (run.parent.name, run.name) == (row, f"seed{seed}"):
            return run
    known = ", ".join(sorted(f"{run.parent.name}/{run.name}" for run in runs))
    raise SystemExit(f"{folder} has no result of {row}/seed{seed}; it has those of {known}")


def _predict(run: Path, photos: Sequence[str], to: Path) -> None:
    weights = run / json.loads((run / "trained.json").read_text())["weights"]
    classes = np.load(run / "counts.npz")["counts"].shape[2]
    names = ("--set", f"NUM_LABELS={classes}", "--set", "EXP=study")
    rlossctl("predict", f"{NET}/test", weights, *photos, "-o", to, *names)


def _panel(caption: str, panel: np.ndarray) -> Panel:
    return caption, thumbnail(panel, _BOX)
