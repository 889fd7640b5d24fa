"""The labels that a study learns from, and the lists that name them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from commands import rlossctl
from recipe import DataSet

# Share of pixels with a label -> options of `rlossctl data scribble`.
KINDS = {
    "strokes100": ("--kind", "strokes", "--coverage", "0.03"),
    "strokes50": ("--kind", "strokes", "--coverage", "0.015"),
    "strokes25": ("--kind", "strokes", "--coverage", "0.0075"),
    "clicks": ("--kind", "clicks"),
}
OWN = "own"  # the data set's own scribbles
MASKS = "masks"  # the photos of KINDS with full masks: one run serves all kinds
HELD_OUT = 5  # every fifth photo of the training list chooses pulls
SPARED = 3  # and every third of those without scribbles of their own, where these are learned from


@dataclass(frozen=True)
class Lists:
    """Lists of `photo label` lines: weak and full for training, and full masks to score on."""

    weak: Path
    full: Path
    scored: Path


def make_lists(data: DataSet, root: Path, kind: str, split: str, folder: Path) -> Lists:
    """Writes labels and lists below `folder`, once.

    Args:
        kind: of KINDS, OWN, or MASKS, whose weak labels are the masks.
        split: "val" trains on the training list and scores on the validation list; "tune" trains on four
            fifths of the training list and scores on the rest. Photos with scribbles of their own are few, so
            with OWN "tune" trains on all of these, and scores on a third of the other training photos.
    """
    lists = Lists(*(folder / f"{name}.txt" for name in ("weak", "full", "scored")))
    if lists.scored.exists():
        return lists
    folder.mkdir(parents=True, exist_ok=True)
    pairs = _pairs(root, data.own[0] if kind == OWN and data.own else data.train)
    if split == "val":
        scored = _pairs(root, data.val)
    elif kind == OWN:
        scored = [pair for pair in _pairs(root, data.train) if pair not in pairs][::SPARED]
    else:
        scored = pairs[::HELD_OUT]
        pairs = [pair for place, pair in enumerate(pairs) if place % HELD_OUT]
    _write(lists.full, pairs)
    if kind == OWN and data.own:
        _write(lists.weak, [(photo, root / data.own[1] / label.name) for photo, label in pairs])
    elif kind == MASKS:
        _write(lists.weak, pairs)
    else:
        scribbles = folder / "labels"
        rlossctl("data", "scribble", lists.full, scribbles, *KINDS[kind])
        _write(lists.weak, [(photo, scribbles / label.name) for photo, label in pairs])
    _write(lists.scored, scored)
    return lists


def with_masks(folder: Path) -> list[Path]:
    """A study's folder, and the one whose runs learned from full masks of the same photos, if any."""
    data, kind, *others = folder.name.split("-")
    masks = folder.with_name("-".join([data, MASKS, *others]))
    return [folder, *([masks] if kind in KINDS and masks.exists() else [])]


def _pairs(root: Path, name: str) -> list[tuple[Path, Path]]:
    from rlossctl.evaluation.running.open_model import open_list

    samples = open_list(str(root / name), root)
    return [(Path(sample.image).absolute(), Path(str(sample.label)).absolute()) for sample in samples]


def _write(path: Path, pairs: list[tuple[Path, Path]]) -> None:
    path.write_text("".join(f"{photo} {label}\n" for photo, label in pairs))
