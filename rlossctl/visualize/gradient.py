"""The gradient of a loss for one photo, class by class, as pictures."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rlossctl.data.drawing import overlay
from rlossctl.files import atomic_write
from rlossctl.visualize.maps import GREY, Panel, sheet, signed_scale
from rlossctl.visualize.scores import Scored
from rlossctl.visualize.terms import Term
from rlossctl.words import counted

SHOWN = 6  # the most classes in a montage
EXPLANATION = (
    "Blue: the gradient is below 0, so a training step raises the class here. Red: a step lowers the class.",
    "On the scores before the softmax, classes compete: what raises one lowers the others.",
    "Each colour bar has its own range.",
)


@dataclass(frozen=True)
class Gradient:
    """The loss on one photo, and its gradients for the classes.

    Attributes:
        name: what titles call the loss.
        loss: the loss, with its weight.
        setting: its parameters, in words.
        kernel: what computed it, and why.
        probabilities: [K, H, W], as given.
        on_probabilities: [K, H, W], the loss's gradient on the probabilities.
        on_scores: [K, H, W], the same gradient, propagated back through the softmax.
    """

    name: str
    loss: float
    setting: str
    kernel: str
    probabilities: np.ndarray
    on_probabilities: np.ndarray
    on_scores: np.ndarray


def measure_gradient(scored: Scored, term: Term, device: str | torch.device = "cpu") -> Gradient:
    """Runs the loss on all pixels of one photo, on `device`."""
    place = torch.device(device)
    image, seg = (torch.from_numpy(array)[None].to(place) for array in (scored.colours, scored.probabilities))
    seg.requires_grad_()
    value = term.value(image, seg)
    (gradient,) = torch.autograd.grad(value, seg)
    on_scores = seg.detach() * (gradient - (seg.detach() * gradient).sum(1, keepdim=True))
    return Gradient(
        term.name,
        value.item(),
        term.setting,
        term.kernel(place),
        scored.probabilities,
        gradient[0].cpu().numpy(),
        on_scores[0].cpu().numpy(),
    )


def write_pictures(folder: str | os.PathLike[str], name: str, scored: Scored, result: Gradient) -> list[Path]:
    """Writes one PNG per class, and montage.png with the classes that occur.

    Returns:
        The files written, the montage first.

    Raises:
        RlossError: the folder cannot be written.
    """
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    written = [_save(out / "montage.png", montage(name, scored, result))]
    for index, label in enumerate(scored.classes):
        file = out / f"class_{index:02d}_{re.sub(r'[^0-9A-Za-z]+', '-', label)}.png"
        written.append(_save(file, class_sheet(name, index, scored, result)))
    return written


def montage(name: str, scored: Scored, result: Gradient) -> Image.Image:
    """The photo, its most probable classes, and a row for each class that is most probable at some pixel."""
    ids = result.probabilities.argmax(0).astype(np.uint8)
    counts = np.bincount(ids.ravel(), minlength=len(scored.classes))
    shown = sorted(index for index in np.argsort(-counts, kind="stable")[:SHOWN] if counts[index])
    photo = np.ascontiguousarray(scored.photo[:, :, ::-1])
    rows = [[Panel("photo", photo), Panel("most probable class", overlay(scored.photo, ids))]]
    rows += [_row(index, scored, result) for index in shown]
    lines = [f"loss {result.loss:.6g}; {result.setting}", *EXPLANATION]
    left_out = len(scored.classes) - len(shown)
    if left_out:
        others = counted(left_out, "class", "classes")
        lines.append(f"In separate files only: {others} most probable at fewer pixels, or at none.")
    return sheet(f"Gradient of {result.name}: {name}", lines, rows)


def class_sheet(name: str, index: int, scored: Scored, result: Gradient) -> Image.Image:
    """One class: its probability and both gradients."""
    title = f"Gradient of {result.name}: {name}, {_class(index, scored)}"
    return sheet(title, [result.setting, *EXPLANATION], [_row(index, scored, result)])


def _row(index: int, scored: Scored, result: Gradient) -> list[Panel]:
    name = _class(index, scored)
    panels = [Panel.of(f"{name}: probability", result.probabilities[index], GREY)]
    for caption, values in (
        ("gradient on the probability", result.on_probabilities[index]),
        ("gradient on the score", result.on_scores[index]),
    ):
        panels.append(Panel.of(caption, values, signed_scale(_limit(values))))
    return panels


def _class(index: int, scored: Scored) -> str:
    name = scored.classes[index]
    return name if name == f"class {index}" else f"{name} (class {index})"


def _limit(values: np.ndarray) -> float:
    """The scale's end: one pixel in a thousand exceeds it, so that a few pixels do not make the rest pale."""
    return float(np.quantile(np.abs(values), 0.999)) or float(np.abs(values).max())


def _save(path: Path, picture: Image.Image) -> Path:
    with atomic_write(path) as file:
        picture.save(file, format="PNG")
    return path
