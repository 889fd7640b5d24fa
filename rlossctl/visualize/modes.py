"""Compares the filter's modes on the user's images: how to convert a loss weight from one to another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rlossctl.data.images import read_image, read_label
from rlossctl.data.lists import Sample
from rlossctl.errors import DataError
from rlossctl.evaluation.running.open_model import open_list
from rlossctl.losses import compare_modes
from rlossctl.losses.modes import Comparison
from rlossctl.visualize.scores import UNLABELLED, soft_labels

LIST_SUFFIX = ".txt"


@dataclass(frozen=True)
class Row:
    """The modes on one image: its name, the measured size (width, height), and the figures."""

    name: str
    size: tuple[int, int]
    comparison: Comparison


def measure_modes(
    samples: Iterable[Sample], sigma_xy: float, sigma_rgb: float, crop: int | None = None, soften: float = 0.1
) -> Iterator[Row]:
    """Compares the modes on each image. The scores are its softened label, or all ones without a label.

    Args:
        samples: images, with or without labels.
        sigma_xy, sigma_rgb: the loss's sigmas, in pixels and grey levels.
        crop: measure only a central square of this side, such as the training crop; None measures all.
        soften: share of each labelled pixel that is spread over all classes.

    Raises:
        DataError: an image or label cannot be read or does not fit.
    """
    for sample in samples:
        photo = read_image(sample.image)
        seg = np.ones((1, *photo.shape[:2]), dtype=np.float32)
        if sample.label is not None:
            label = read_label(sample.label)
            if label.shape != photo.shape[:2]:
                raise DataError(
                    "image and label differ in size",
                    where=sample.label,
                    found=f"{label.shape[1]}x{label.shape[0]}, the image {photo.shape[1]}x{photo.shape[0]}",
                    expected="the same width and height",
                    advice="check that the label belongs to the image",
                )
            known = label[label != UNLABELLED]
            seg = soft_labels(label, max(int(known.max(initial=0)) + 1, 2), soften)
        colours = photo[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
        image, scores = (torch.from_numpy(centre(array, crop))[None] for array in (colours, seg))
        comparison = compare_modes(image, scores, torch.ones_like(image[:, :1]), sigma_xy, sigma_rgb)
        height, width = image.shape[2:]
        yield Row(Path(sample.image).name, (width, height), comparison)


def find_samples(names: Sequence[str], root: str = "") -> list[Sample]:
    """The named photos, and the photos in lists (text files), whose names are relative to `root`.

    Raises:
        DataError: a list cannot be read.
    """
    samples: list[Sample] = []
    for name in names:
        if Path(name).suffix.lower() == LIST_SUFFIX:
            samples += open_list(name, root)
        else:
            samples.append(Sample(name, None, 0))
    return samples


def centre(array: np.ndarray, crop: int | None) -> np.ndarray:
    """The central `crop` x `crop` of [C, H, W]; a smaller side stays whole."""
    height, width = array.shape[1:]
    rows, columns = min(height, crop or height), min(width, crop or width)
    top, left = (height - rows) // 2, (width - columns) // 2
    return np.ascontiguousarray(array[:, top : top + rows, left : left + columns])


def format_rows(rows: Sequence[Row]) -> str:
    """A table with one line per image, and the factors over all images."""
    names = max(5, *(len(row.name) for row in rows))
    head = f"{'image':<{names}}  {'size':>9}{'loss (lattice)':>16}{'factor':>9}"
    lines = [f"{head}{'residual':>10}{'asymmetry':>11}"]
    for row in rows:
        figures = row.comparison.modes
        size = "x".join(map(str, row.size))
        lines.append(
            f"{row.name:<{names}}  {size:>9}{figures['lattice'].loss:>16.5g}"
            f"{figures['exact'].factor:>9.3f}"
            f"{figures['exact'].residual:>10.1%}{row.comparison.asymmetry:>11.2%}"
        )
    totals = {mode: sum(row.comparison.modes[mode].loss for row in rows) for mode in rows[0].comparison.modes}
    factors = [row.comparison.modes["exact"].factor for row in rows]
    return "\n".join(
        (
            *lines,
            "",
            f"EXACT: multiply a weight for LATTICE by {totals['lattice'] / totals['exact']:.3f} "
            f"(single images: {min(factors):.3f} to {max(factors):.3f})",
            "SYMMETRIC: use the same weight, since its loss equals LATTICE's",
        )
    )
