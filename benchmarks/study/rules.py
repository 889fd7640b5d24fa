"""Prediction rules and the dense CRF on one model's probabilities, beside rankseg's masks of the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from rlossctl.counts import ClassCounts, image_wise
from rlossctl.data.pairs import read_pair
from rlossctl.evaluation.predicting.crf import refine
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.protocol import Crf
from rlossctl.evaluation.predicting.rules import Rule, decide
from rlossctl.evaluation.running.named import Named
from rlossctl.evaluation.running.open_model import ImageList, open_model

Labels = Callable[[np.ndarray], np.ndarray]  # probabilities [C, H, W] -> uint8 [H, W]
IGNORED = 255
HEAD = (
    "| rule | mIoU | image-wise mIoU | image-wise mDice | ms "
    "| rankseg: mIoU | image-wise mIoU | ms | equal pixels |"
)


@dataclass(frozen=True)
class Contender:
    """A rule, and rankseg's settings for the same; `other` is None where it has nothing of the kind."""

    title: str
    own: Labels
    other: Labels | None = None


@dataclass
class Score:
    """Counts of each image, and the milliseconds that its rule took."""

    counts: list[np.ndarray] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def add(self, rule: Labels, probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Applies and counts a rule; returns its labels."""
        begin = time.process_time()
        labels = rule(probabilities)
        self.milliseconds.append(1e3 * (time.process_time() - begin))
        masks = labels == np.arange(len(probabilities))[:, None, None]
        self.counts.append(ClassCounts.of_masks(truth, masks, IGNORED).to_array())
        return labels

    def cells(self, dice: bool) -> list[str]:
        """Set-wise mIoU, image-wise mIoU (and mDice), and the median time."""
        counts = ClassCounts.from_array(np.stack(self.counts))
        images = image_wise(counts)
        values = [counts.sum().miou(), images.miou_images, *([images.mdice_images] if dice else [])]
        return [*(f"{100 * (value or 0):.2f}" for value in values), f"{np.median(self.milliseconds):.0f}"]


def contenders() -> list[Contender]:
    """Ours, and rankseg's where it is installed."""
    return [
        Contender("argmax", _own("argmax")),
        *(
            Contender(f"{name}, {solver}", _own(name, solver), _rankseg(metric) if solver == "rma" else None)
            for name, metric in (("rankdice", "dice"), ("rankiou", "IoU"))
            for solver in ("moment2", "rma")
        ),
    ]


def _own(name: str, solver: str = "moment2") -> Labels:
    rule = Rule(name, solver=solver)  # type: ignore[arg-type]
    return lambda probabilities: decide(probabilities, rule).label_map


def _rankseg(metric: str) -> Labels | None:
    """rankseg with one class per pixel, by its only solver for that (RMA)."""
    try:
        import torch
        from rankseg import RankSEG
    except ImportError:
        return None
    judge = RankSEG(metric=metric, output_mode="multiclass", solver="RMA")
    return lambda probabilities: (
        judge.predict(torch.from_numpy(probabilities)[None])[0].numpy().astype(np.uint8)
    )


def rules_table(named: Named, images: ImageList) -> str:
    """A table as Markdown, of all rules with and without the dense CRF."""
    opened = open_model(named, "auto", images)
    predictor = Predictor(opened.runner)
    rows = {
        (contender.title, crf): (contender, Score(), Score())
        for crf in (False, True)
        for contender in contenders()
    }
    equal: dict[tuple[str, bool], list[float]] = {key: [] for key in rows}
    spent: list[float] = []
    for probabilities, truth, refined in _images(predictor, opened.images, spent):
        for key, (contender, own, other) in rows.items():
            given = refined if key[1] else probabilities
            labels = own.add(contender.own, given, truth)
            if contender.other is not None:
                equal[key].append(float((other.add(contender.other, given, truth) == labels).mean()))
    lines = [HEAD, "|---" * HEAD.count(" | ") + "|---|"]
    for (title, crf), (_, own, other) in rows.items():
        theirs = (
            [*other.cells(False), f"{100 * np.mean(equal[title, crf]):.3f} %"] if other.counts else [""] * 4
        )
        name = title + (", after the CRF" if crf else "")
        lines.append("| " + " | ".join([name, *own.cells(True), *theirs]) + " |")
    lines.append(f"\n{len(spent)} photos; the CRF: {np.median(spent):.0f} ms of processor time for each.")
    return "\n".join(lines)


def _images(
    predictor: Predictor, images: ImageList, spent: list[float]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Each photo's probabilities, truth, and the CRF's probabilities; `spent` gets its milliseconds."""
    for sample in images.read():
        read = read_pair(sample, str(images.file))
        photo, truth = read.photo.pixels, read.truth
        probabilities = predictor.probabilities(photo)
        begin = time.process_time()
        refined = refine(probabilities, photo.astype(np.float32), Crf())
        spent.append(1e3 * (time.process_time() - begin))
        yield probabilities, truth, refined
