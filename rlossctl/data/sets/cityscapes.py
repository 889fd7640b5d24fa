"""Cityscapes: fine and coarse labels, 19 classes; clicks; the scribbles of Scribbles for All."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rlossctl.data.archives import Entry, Sources
from rlossctl.data.classes import CITYSCAPES_IDS, read_classes
from rlossctl.data.sets.clicks import add_clicks, without_json
from rlossctl.data.sets.ids import grey_image, renumbered
from rlossctl.data.sets.laying_out import Convert, Layout, Part, Prepared, by_ending
from rlossctl.data.sets.registry import DataSet, Download, data_set

CLASSES, COLOURS = read_classes("cityscapes")
_MOST = 33
_PHOTO = "_leftImg8bit.png"
_COARSE, _SCRIBBLES = "SegmentationClassCoarse", "scribbles"
_TERMS = "https://www.cityscapes-dataset.com/downloads/"
DOWNLOADS = tuple(
    Download(item, file, (), what=what, terms=_TERMS, extra=extra)
    for item, file, what, extra in (
        ("cityscapes", "leftImg8bit_trainvaltest.zip", "photos of train, val and test", False),
        ("cityscapes_fine", "gtFine_trainvaltest.zip", "fine labels", False),
        ("cityscapes_extra", "leftImg8bit_trainextra.zip", "photos of train_extra", True),
        ("cityscapes_coarse", "gtCoarse.zip", "coarse labels", True),
    )
)


def own_ids(void: int) -> dict[int, int]:
    """Cityscapes' own ids 0..33 -> training ids; other classes become `void`."""
    return dict.fromkeys(range(_MOST + 1), void) | {own: train for train, own in enumerate(CITYSCAPES_IDS)}


@data_set(
    DataSet(
        name="cityscapes",
        title="Cityscapes",
        classes=CLASSES,
        colours=COLOURS,
        ignore_label_free=True,
        published={
            "train.txt": 2975,
            "val.txt": 500,
            "test.txt": 1525,
            "train_coarse.txt": 2975,
            "val_coarse.txt": 500,
            "train_extra.txt": 19998,
            "train_scribbles.txt": 2975,
        },
        ids="19 of 34 (labelIds)",
        downloads=DOWNLOADS,
        folder="Cityscapes",
        help="leftImg8bit with gtFine or gtCoarse; s4Cityscapes; clicks as .json",
    )
)
def prepare_cityscapes(sources: list[str], out: str | os.PathLike[str], void: int = 255) -> Prepared:
    """Cityscapes from leftImg8bit, gtFine and gtCoarse (NAME_labelIds.png, below a folder for each city).

    Ids become training ids, 0..18, and those of other classes `void`. Photos and labels are called
    CITY_SEQUENCE_FRAME.png, as in the names of their files. The fine labels of test are dummies and left
    alone: test.txt lists photos. s4Cityscapes/scribbles/gtFine, as its own script unpacks it, has strokes in
    the same ids.

    Raises:
        DataError: no photo with its label, labels with other ids.
    """
    folders, files = without_json(sources)
    convert = renumbered(own_ids(void), f"Cityscapes' labelIds, 0..{_MOST}", read=grey_image)
    with Sources(folders) as opened:
        layout = Layout(
            Path(out), opened, "leftImg8bit/train/CITY/NAME_leftImg8bit.png with gtFine or gtCoarse likewise"
        )
        layout.add(*_parts(opened.entries, convert))
        layout.add_photos("test", by_ending(opened.entries, "leftImg8bit/test", _PHOTO))
        if files:
            names = by_ending(opened.entries, "leftImg8bit/train", _PHOTO).keys()
            add_clicks(layout, files, names, "train_clicks", len(CLASSES), cityscapes=True)
        return layout.done()


def _parts(entries: Sequence[Entry], convert: Convert) -> list[Part]:
    full = [entry for entry in entries if f"/{_SCRIBBLES}/gtFine/" not in f"/{entry.path}"]
    photos = {
        split: by_ending(full, f"leftImg8bit/{split}", _PHOTO) for split in ("train", "val", "train_extra")
    }
    coarse = {split: by_ending(full, f"gtCoarse/{split}", "_gtCoarse_labelIds.png") for split in photos}
    fine = {split: by_ending(full, f"gtFine/{split}", "_gtFine_labelIds.png") for split in ("train", "val")}
    strokes = by_ending(entries, f"{_SCRIBBLES}/gtFine/train", "_gtFine_labelIds.png")
    return [
        *(Part(split, photos[split], labels, convert) for split, labels in fine.items()),
        Part("train_coarse", photos["train"], coarse["train"], convert, _COARSE),
        Part("val_coarse", photos["val"], coarse["val"], convert, _COARSE),
        Part("train_extra", photos["train_extra"], coarse["train_extra"], convert, _COARSE),
        Part("train_scribbles", photos["train"], strokes, convert, _SCRIBBLES),
    ]
