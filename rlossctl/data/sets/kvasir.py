"""Kvasir-SEG: 1,000 photos of polyps with binary masks (Jha et al. 2020)."""

from __future__ import annotations

import os
from pathlib import Path

from rlossctl.data.archives import Entry, Sources
from rlossctl.data.classes import read_classes
from rlossctl.data.sets.ids import bright, renumbered
from rlossctl.data.sets.laying_out import Layout, Part, Prepared, by_stem, chosen
from rlossctl.data.sets.registry import DataSet, Download, data_set

CLASSES, _COLOURS = read_classes("kvasir")
_SPLITS = ("train", "val", "test")
DOWNLOADS = (
    Download(
        "kvasir",
        "kvasir-seg.zip",
        ("https://datasets.simula.no/downloads/kvasir-seg.zip",),
        what="photos and masks of polyps",
        terms="https://datasets.simula.no/kvasir-seg/",
    ),
)


@data_set(
    DataSet(
        name="kvasir",
        title="Kvasir-SEG",
        classes=CLASSES,
        colours=_COLOURS,
        published={"all.txt": 1000, "train.txt": 880, "val.txt": 120},
        ids="grey levels from 128 on are 1, others 0",
        downloads=DOWNLOADS,
        folder="Kvasir-SEG",
        help="kvasir-seg.zip; splits from the authors' train.txt and val.txt where they are given",
    )
)
def prepare_kvasir(sources: list[str], out: str | os.PathLike[str]) -> Prepared:
    """Kvasir-SEG: images/NAME.jpg and masks/NAME.jpg, whose 0 and 255 JPEG has blurred.

    all.txt lists every photo. The archive has no splits: the authors publish train.txt (880 names) and
    val.txt (120) with their programs; lists of names among the sources are used as they are.

    Raises:
        DataError: no photo with its mask.
    """
    convert = renumbered({0: 0, 1: 1}, "0 and 1", read=bright)
    with Sources(sources) as opened:
        photos, masks = by_stem(opened.entries, "images"), by_stem(opened.entries, "masks")
        layout = Layout(Path(out), opened, "images/NAME.jpg with masks/NAME.jpg")
        named = {split: _names(opened.entries, f"{split}.txt") for split in _SPLITS}
        layout.add(
            Part("all", photos, masks, convert),
            *(
                Part(split, chosen(photos, names), chosen(masks, names), convert)
                for split, names in named.items()
            ),
        )
        return layout.done()


def _names(entries: list[Entry], file: str) -> set[str]:
    """The names in a split's list, without suffixes; empty if there is no such list."""
    texts = [entry.read().decode("utf-8", "replace") for entry in entries if entry.path.name == file]
    return {Path(line.strip()).stem for line in texts[0].splitlines() if line.strip()} if texts else set()
