"""The study's table, from its runs' files."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from labels import with_masks
from rows import ROWS

from rlossctl.counts import ClassCounts
from rlossctl.evaluation.scoring.bootstrap import compare

HEAD = (
    "| row | mIoU | pixel accuracy | over pCE (95 % of lists of photos) | of the gap | seeds | weight "
    "| ms/update | GB |"
)


@dataclass(frozen=True)
class Runs:
    """All seeds of one row.

    Attributes:
        name: its folder: the row, and pulls that are not its own.
        results: one for each seed, as `run` wrote them.
        counts: one for each seed, [images, 3, C].
    """

    name: str
    results: Sequence[dict[str, object]]
    counts: Sequence[np.ndarray]

    def values(self, figure: str) -> list[float]:
        """A figure of each seed that has it."""
        return [float(str(result[figure])) for result in self.results if result[figure] is not None]

    def scores(self) -> dict[str, float]:
        """Seed -> mIoU."""
        return {str(result["seed"]): float(str(result["miou"])) for result in self.results}

    def of(self, seeds: Collection[str]) -> Runs:
        """Those with these seeds alone."""
        kept = [place for place, seed in enumerate(self.scores()) if seed in seeds]
        return Runs(
            self.name, [self.results[place] for place in kept], [self.counts[place] for place in kept]
        )

    def mean(self, figure: str) -> float:
        """The mean over the seeds, NaN if none has it."""
        values = self.values(figure)
        return statistics.fmean(values) if values else math.nan

    def spread(self, figure: str) -> str:
        """Mean and standard deviation over the seeds, in per cent."""
        values = [100 * value for value in self.values(figure)]
        return f"{statistics.fmean(values):.2f}" + (
            f" +/- {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        )


def table(folder: Path) -> str:
    """The table of one data set, labels and split, as Markdown.

    Differences pair the seeds that a row shares with pCE, and draw lists of photos; the mean over the seeds
    stands before its interval. The share of the gap is (row - pCE) / (full - pCE), of the seeds of all three.
    """
    rows = {runs.name: runs for runs in _found(folder)}
    lines = [HEAD, "|---" * HEAD.count(" | ") + "|---|"]
    for runs in sorted(rows.values(), key=lambda runs: _place(runs.name)):
        lines.append(_line(runs, rows.get("pce"), rows.get("full")))
    return "\n".join(lines) + "\n"


def classes(folder: Path, names: Sequence[str]) -> str:
    """IoU of each class and row in per cent, the mean over the same seeds, as Markdown; - where it has none.

    It has the rows with the first seed, and of those all seeds that they share.

    Args:
        names: of the classes, in the order of ids.
    """
    found = sorted(_found(folder), key=lambda runs: _place(runs.name))
    first = min(seed for runs in found for seed in runs.scores())
    found = [runs for runs in found if first in runs.scores()]
    seeds = set.intersection(*(set(runs.scores()) for runs in found))
    ious = [_ious(runs.of(seeds)) for runs in found]
    lines = ["| class | " + " | ".join(map(_title, found)) + " |", "|---" * (len(found) + 1) + "|"]
    for place, name in enumerate(names):
        values = ("-" if math.isnan(iou[place]) else f"{100 * iou[place]:.1f}" for iou in ious)
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    over = "with seed" if len(seeds) == 1 else "the mean over seeds"
    return f"IoU of each class, {over} {', '.join(sorted(seeds))}:\n\n" + "\n".join(lines) + "\n"


def by_labels(folders: Mapping[str, Path], titles: Mapping[str, str]) -> str:
    """mIoU in per cent, a line for each kind of labels, as Markdown; of one seed, which every kind's pCE has.

    It has the rows of at least two kinds, and beside each what it has over the same kind's pCE.

    Args:
        folders: kind -> the folder of its runs.
        titles: kind -> in words.

    Returns:
        "" where fewer than two kinds have a pCE of the same seed.
    """
    found = {kind: {runs.name: runs for runs in _found(folder)} for kind, folder in folders.items()}
    found = {kind: rows for kind, rows in found.items() if "pce" in rows}
    common = set.intersection(*(set(rows["pce"].scores()) for rows in found.values())) if found else set()
    if len(found) < 2 or not common:
        return ""
    seed = min(common)
    scores: dict[str, dict[str, float]] = {kind: {} for kind in found}  # kind -> row -> mIoU
    shown: dict[str, str] = {}  # row -> title
    for kind, rows in found.items():
        for runs in rows.values():
            if seed in runs.scores():
                scores[kind][runs.name] = runs.scores()[seed]
                shown[runs.name] = _title(runs)
    names = [name for name in shown if sum(name in own for own in scores.values()) > 1]
    names.sort(key=_place)
    lines = [
        "| labels | " + " | ".join(shown[name] for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for kind, own in scores.items():
        cells = (_score(own.get(name), None if name == "pce" else own["pce"]) for name in names)
        lines.append(f"| {titles[kind]} | " + " | ".join(cells) + " |")
    return f"mIoU with seed {seed}, and what it has over pCE:\n\n" + "\n".join(lines) + "\n"


def _score(score: float | None, base: float | None) -> str:
    if score is None:
        return "-"
    return f"{100 * score:.2f}" + ("" if base is None else f" ({100 * (score - base):+.2f})")


def _ious(runs: Runs) -> np.ndarray:
    """[C], NaN where a class is neither in truth nor predicted."""
    return np.mean([ClassCounts.from_array(counts).sum().iou() for counts in runs.counts], axis=0)


def _found(folder: Path) -> list[Runs]:
    """Its rows; of the full masks that serve several kinds of labels, the seeds that its own rows have."""
    own, *masks = (
        [runs for place in sorted(part.iterdir()) if (runs := _read(place))] for part in with_masks(folder)
    )
    seeds = {seed for runs in own for seed in runs.scores()}
    return own + [runs.of(seeds) for part in masks for runs in part if seeds & set(runs.scores())]


def _read(place: Path) -> Runs | None:
    results = sorted(place.glob("seed*/result.json"))
    if not results:
        return None
    return Runs(
        place.name,
        [json.loads(path.read_text()) for path in results],
        [np.load(path.with_name("counts.npz"))["counts"] for path in results],
    )


def _place(name: str) -> tuple[int, str]:
    order = list(ROWS)
    return order.index(name.split("-")[0]), name


def _line(runs: Runs, base: Runs | None, full: Runs | None) -> str:
    first = runs.results[0]
    weights = first["weights_found"]
    cells = [
        _title(runs),
        runs.spread("miou"),
        runs.spread("pixel_accuracy"),
        _over(runs, base),
        _closed(runs, base, full),
        ", ".join(str(result["seed"]) for result in runs.results),
        ", ".join(f"{loss} {weight:.2g}" for loss, weight in weights.items() if loss != "loss")
        if isinstance(weights, dict)
        else "",
        f"{1000 * runs.mean('seconds'):.0f}",
        "" if math.isnan(runs.mean("bytes")) else f"{runs.mean('bytes') / 1e9:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _title(runs: Runs) -> str:
    pulls = runs.results[0]["pulls"]
    assert isinstance(pulls, dict)
    given = ", ".join(f"{pull:g}" for pull in pulls.values())
    return ROWS[runs.name.split("-")[0]].title + (f", pull {given}" if given else "")


def _over(runs: Runs, base: Runs | None) -> str:
    if base is None or runs is base:
        return ""
    others = {result["seed"]: counts for result, counts in zip(base.results, base.counts, strict=True)}
    pairs = [
        (counts, others[result["seed"]])
        for result, counts in zip(runs.results, runs.counts, strict=True)
        if result["seed"] in others
    ]
    if not pairs:
        return "no seed in common"
    # One image more for each seed: the same photos are drawn for all seeds of both rows.
    model, other = (ClassCounts.from_array(np.sum(side, axis=0)) for side in zip(*pairs, strict=True))
    difference = compare(model, other)
    return "" if difference is None else difference.text()


def _closed(runs: Runs, base: Runs | None, full: Runs | None) -> str:
    """Of the seeds that all three have."""
    if base is None or full is None or runs is base or runs is full:
        return ""
    scores = [rows.scores() for rows in (runs, base, full)]
    seeds = set.intersection(*map(set, scores))
    if not seeds:
        return "no seed in common"
    own, low, high = (sum(each[seed] for seed in seeds) for each in scores)
    return f"{(own - low) / (high - low):.0%}" if high > low else "no gap"
