"""The results that docs/study.md shows: small copies of them, and its tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from labels import KINDS, MASKS, OWN
from recipe import DATA
from table import by_labels, classes, table

from rlossctl.data.sets.registry import data_sets

BEGIN, END = "<!-- tables of benchmarks/study -->", "<!-- end of the tables -->"
KEPT = ("result.json", "counts.npz")
TITLES = {"voc": "VOC", "camvid": "CamVid"}
LABELS = {
    "strokes100": "strokes on 3 % of the pixels",
    "strokes50": "strokes on 1.5 % of the pixels",
    "strokes25": "strokes on 0.75 % of the pixels",
    "clicks": "one click in each object",
    OWN: "the data set's own scribbles",
}


def collect(runs: Path, to: Path) -> int:
    """Copies what the tables need from the runs' folders; what `to` holds of other runs stays.

    Returns:
        The number of results.

    Raises:
        SystemExit: `to` holds results of another recipe in a folder of the same name.
    """
    count = 0
    for result in sorted(runs.glob("*/*/seed*/result.json")):
        place = to / result.parent.relative_to(runs)
        _keep_recipe(result.parents[2] / "recipe.json", place.parents[1] / "recipe.json")
        place.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            shutil.copyfile(result.with_name(name), place / name)
        count += 1
    return count


def _keep_recipe(own: Path, kept: Path) -> None:
    if kept.exists() and json.loads(kept.read_text()) != json.loads(own.read_text()):
        raise SystemExit(f"{kept} is another recipe than {own}: its rows do not compare")
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(own, kept)


def tables(results: Path) -> str:
    """All tables, as Markdown."""
    parts = _comparisons(results)
    for folder in sorted((path.parent for path in results.glob("*/recipe.json")), key=_order):
        data, labels, split, _ = folder.name.split("-")
        if labels == MASKS:
            continue  # the tables of weak labels show them
        recipe = json.loads((folder / "recipe.json").read_text())
        scored = f"of {DATA[data].val}" if split == "val" else "held out of the training list"
        parts.append(
            f"### {TITLES[data]}, {LABELS[labels]}, scored on photos {scored}: "
            f"{recipe['first']} + {recipe['second']} updates, rate x {recipe['slower']:g}\n\n"
            f"{recipe['first']} updates with the cross-entropy alone, then {recipe['second']} with the "
            f"losses at {recipe['slower']:g} of the rate.\n\n{table(folder)}"
        )
        if split == "val":
            names = data_sets()[data].classes
            parts.append(classes(folder, names))
    return "\n".join(parts)


def _comparisons(results: Path) -> list[str]:
    """How much the labels say, for each data set and number of updates that has several kinds of them."""
    parts = []
    for place in sorted(
        {"-".join(path.parent.name.split("-")[::3]) for path in results.glob("*-val-*/recipe.json")}
    ):
        data, updates = place.split("-")
        folders = {kind: results / f"{data}-{kind}-val-{updates}" for kind in KINDS}
        if text := by_labels({kind: path for kind, path in folders.items() if path.exists()}, LABELS):
            parts.append(f"### {TITLES[data]}: fewer and fewer labels, {updates} updates\n\n{text}")
    return parts


def _order(folder: Path) -> tuple[bool, str, bool, str]:
    """What was scored on the validation lists first, CamVid before VOC; within a data set, clicks first."""
    data, labels, split, updates = folder.name.split("-")
    return split != "val", data, labels == OWN, f"{labels} {updates}"


def with_tables(text: str, results: Path) -> str:
    """A page's text with the tables between its two marks."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{tables(results)}\n{END}{rest.split(END)[1]}"
