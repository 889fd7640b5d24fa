"""PASCAL Context: 4,998 and 5,105 photos of VOC 2010, its 59 most frequent classes (Mottaghi et al. 2014).

With 59 classes everything else does not count; with 60 it is the background, class 0.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from rlossctl.data.archives import Sources
from rlossctl.data.classes import read_classes
from rlossctl.data.sets.ids import matlab, renumbered
from rlossctl.data.sets.laying_out import PHOTOS, Layout, Part, Prepared, by_stem, chosen, missing
from rlossctl.data.sets.registry import DataSet, Download, data_set
from rlossctl.errors import DataError

_ALL = read_classes("context")  # the background and the 59 classes
# Their ids among the 459 of labels.txt, in the alphabetical order of the names.
_IDS = (
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144),
    *(
        158,
        159,
        162,
        187,
        189,
        207,
        220,
        232,
        258,
        259,
        260,
        284,
        295,
        296,
        308,
        324,
        326,
        347,
        349,
        354,
        355,
    ),
    *(360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454, 458),
)
_MOST = 459
_SPLITS = ("ImageSets/SegmentationContext", "ImageSets/Main")
DOWNLOADS = (
    Download(
        "voc2010",
        "VOCtrainval_03-May-2010.tar",
        ("https://host.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar",),
        md5="da459979d0c395079b5c75ee67908abb",
        what="photos and splits",
        terms="https://host.robots.ox.ac.uk/pascal/VOC/voc2010/",
    ),
    Download(
        "context",
        "trainval.tar.gz",
        ("https://www.cs.stanford.edu/~roozbeh/pascal-context/trainval.tar.gz",),
        md5="df034edb2c12aa7d33b42b20bb1796e3",
        what="labels of 459 classes",
        terms="https://www.cs.stanford.edu/~roozbeh/pascal-context/",
    ),
)


def prepare_context(
    sources: list[str], out: str | os.PathLike[str], void: int = 255, *, background: bool = False
) -> Prepared:
    """PASCAL Context from its trainval/*.mat (ids in LabelMap) and VOC 2010's photos and splits.

    Splits are read from ImageSets/SegmentationContext, or VOC 2010's own ImageSets/Main, which has the same
    train and val.

    Args:
        void: the id for what none of the 59 classes is.
        background: whether that is class 0 instead, and the others follow.

    Raises:
        DataError: no photo with its label, no lists, a labels.txt whose ids have other names.
    """
    ids = dict.fromkeys(range(_MOST + 1), 0 if background else void)
    ids |= {label: place + background for place, label in enumerate(_IDS)}
    convert = renumbered(ids, f"Context's ids, 0..{_MOST}", read=matlab("LabelMap"))
    with Sources(sources) as opened:
        _check_names(opened)
        photos, labels = by_stem(opened.entries, PHOTOS), by_stem(opened.entries, "trainval", (".mat",))
        splits = _splits(opened)
        layout = Layout(Path(out), opened, f"{PHOTOS}/NAME.jpg with trainval/NAME.mat")
        layout.add(
            *(
                Part(split, chosen(photos, names), chosen(labels, names), convert)
                for split, names in splits.items()
            )
        )
        return layout.done()


def _splits(opened: Sources) -> dict[str, set[str]]:
    """The names of train and val."""
    for folder in _SPLITS:
        files = by_stem(opened.entries, folder, (".txt",))
        if {"train", "val"} <= files.keys():
            return {
                name: set(files[name].read().decode("utf-8", "replace").split()) for name in ("train", "val")
            }
    raise missing("the lists of train and val are", opened, f"{_SPLITS[1]}/train.txt and val.txt of VOC 2010")


def _check_names(opened: Sources) -> None:
    """Compares labels.txt (`ID: name`), if the sources have it, with the ids taken for granted here."""
    file = next((entry for entry in opened.entries if entry.path.name == "labels.txt"), None)
    if file is None:
        return
    lines = (line.partition(":") for line in file.read().decode("utf-8", "replace").splitlines())
    names = {int(number): name.strip() for number, _, name in lines if number.strip().isdecimal()}
    for label, name in zip(_IDS, _ALL.names[1:], strict=True):
        if names.get(label, name) != name:
            raise DataError(
                "the ids have other names than in PASCAL Context",
                where=file.where,
                found=f"{label}: {names[label]}",
                expected=f"{label}: {name}",
                advice="use the labels of trainval.tar.gz, with 459 classes",
            )


for _count in (59, 60):
    data_set(
        DataSet(
            name=f"context{_count}",
            title="PASCAL Context",
            classes=_ALL.names[1 - (_count == 60) :],
            colours=_ALL.colours[1 - (_count == 60) :],
            ignore_label_free=_count == 59,
            published={"train.txt": 4998, "val.txt": 5105},
            ids="59 of 459" if _count == 59 else "59 of 459, others 0",
            downloads=DOWNLOADS if _count == 59 else (),
            folder=f"Context{_count}",
            help=f"{_count} classes; its trainval.tar.gz and VOC 2010",
        )
    )(partial(prepare_context, background=_count == 60))
