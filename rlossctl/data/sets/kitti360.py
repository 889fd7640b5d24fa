"""KITTI-360: 49,004 and 12,276 photos of nine drives, Cityscapes' 19 classes (Liao et al. 2022).

With the scribbles of Scribbles for All (Boettcher et al. 2024), if they are given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from rlossctl.data.archives import Entry, Sources
from rlossctl.data.sets.cityscapes import CLASSES, COLOURS, own_ids
from rlossctl.data.sets.ids import grey_image, renumbered
from rlossctl.data.sets.laying_out import Layout, Part, Prepared, chosen, missing
from rlossctl.data.sets.registry import DataSet, Download, data_set

_FRAME = re.compile(r"(\d{4}_\d\d_\d\d_drive_\d{4}_sync)/image_00/(\w+)/(\d{10})\.png$")
_LISTS = "_frames.txt"
_SCRIBBLES = "scribbles"
# Its ids beyond Cityscapes' (labels.py of kitti360scripts): garage is building, gate fence, smallpole pole.
_MORE = {34: 2, 35: 4, 37: 5}
_MOST = 44
_TERMS = "https://www.cvlibs.net/datasets/kitti-360/download.php"
DOWNLOADS = (
    Download("kitti360", "data_2d_raw.zip", (), what="photos (perspective images)", terms=_TERMS),
    Download("kitti360_labels", "data_2d_semantics.zip", (), what="labels and splits", terms=_TERMS),
)


@data_set(
    DataSet(
        name="kitti360",
        title="KITTI-360",
        classes=CLASSES,
        colours=COLOURS,
        ignore_label_free=True,
        published={"train.txt": 49004, "val.txt": 12276},
        ids="19 of 45, as Cityscapes",
        downloads=DOWNLOADS,
        folder="KITTI-360",
        help="data_2d_raw and data_2d_semantics, with s4KITTI360 where it is given",
    )
)
def prepare_kitti360(sources: list[str], out: str | os.PathLike[str], void: int = 255) -> Prepared:
    """KITTI-360 from data_2d_raw (DRIVE/image_00/data_rect) and data_2d_semantics (.../semantic, the lists).

    Photos and labels are called DRIVE_FRAME.png, because frames of drives have the same names. s4KITTI360 has
    scribbles in the same ids in DRIVE/image_00/scribble, 0 where there is none.

    Raises:
        DataError: no photo with its label, no lists of frames, labels with other ids.
    """
    ids = dict.fromkeys(range(_MOST + 1), void) | own_ids(void) | _MORE | {255: void}
    convert = renumbered(ids, f"KITTI-360's ids, 0..{_MOST}", read=grey_image)
    with Sources(sources) as opened:
        names = {split: _names(opened.entries, f"{split}{_LISTS}") for split in ("train", "val")}
        if not names["train"] and not names["val"]:
            raise missing(
                "the lists of frames are", opened, f"2013_05_28_drive_train{_LISTS} and ..._val{_LISTS}"
            )
        kinds = _by_kind(opened.entries)
        layout = Layout(
            Path(out), opened, "DRIVE/image_00/data_rect/FRAME.png with DRIVE/image_00/semantic/FRAME.png"
        )
        layout.add(
            Part("train", *_of(kinds, names["train"], "semantic"), convert),
            Part("val", *_of(kinds, names["val"], "semantic"), convert),
            Part("train_scribbles", *_of(kinds, names["train"], "scribble"), convert, _SCRIBBLES),
        )
        return layout.done()


def _by_kind(entries: Iterable[Entry]) -> dict[str, dict[str, Entry]]:
    """Kind (data_rect, semantic, scribble) -> DRIVE_FRAME -> file."""
    kinds: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        found = _FRAME.search(str(entry.path))
        if found:
            kinds.setdefault(found[2], {}).setdefault(f"{found[1]}_{found[3]}", entry)
    return kinds


def _names(entries: Iterable[Entry], ending: str) -> set[str]:
    """DRIVE_FRAME of the photos that a list of frames names first on each line."""
    texts = [entry.read().decode("utf-8", "replace") for entry in entries if entry.path.name.endswith(ending)]
    found = (_FRAME.search(line.split()[0]) for text in texts for line in text.splitlines() if line.strip())
    return {f"{one[1]}_{one[3]}" for one in found if one}


def _of(
    kinds: dict[str, dict[str, Entry]], names: set[str], kind: str
) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """The photos and the labels of this kind with these names."""
    return chosen(kinds.get("data_rect", {}), names), chosen(kinds.get(kind, {}), names)
