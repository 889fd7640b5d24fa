"""PASCAL VOC 2012, with the masks of SBD (SegmentationClassAug) and the scribbles of ScribbleSup."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.data.archives import Entry, Sources
from rlossctl.data.sets.laying_out import MASKS, PHOTOS, Prepared, by_stem, copy, missing, write_list
from rlossctl.data.sets.registry import DataSet, Download, data_set

if TYPE_CHECKING:
    import numpy as np

CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_FULL_MASKS, _SCRIBBLES, _SPLITS = "SegmentationClassAug", "pascal_2012_scribble", "ImageSets/Segmentation"
_LISTS = "pascal_scribble/list"  # ${EXP}/list in the experiments' prototxts
DOWNLOADS = (
    Download(
        "voc",
        "VOCtrainval_11-May-2012.tar",
        (
            "https://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            "https://pjreddie.com/media/files/VOCtrainval_11-May-2012.tar",
            "https://d2l-data.s3-accelerate.amazonaws.com/VOCtrainval_11-May-2012.tar",
        ),
        # 1,999,639,040 bytes; the checksum is the one in TensorFlow Datasets' url_checksums/voc.txt.
        "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
    ),
    Download(
        "aug",
        "SegmentationClassAug.zip",
        (
            "https://www.dropbox.com/s/oeu149j8qtbs1x0/SegmentationClassAug.zip?dl=1",
            "https://cs.jhu.edu/~cxliu/data/SegmentationClassAug.zip",
        ),
    ),
    Download(
        "scribbles",
        "pascal_2012_scribble.zip",
        ("https://cs.uwaterloo.ca/~m62tang/rloss/pascal_2012_scribble.zip",),
    ),
)


def _palette() -> np.ndarray:
    from rlossctl.data.palette import voc_palette

    return voc_palette()


@data_set(
    DataSet(
        name="voc",
        title="VOC",
        classes=CLASSES,
        palette=_palette,
        downloads=DOWNLOADS,
        folder="VOC2012",
        help="VOC 2012, with SegmentationClassAug and the scribbles where they are given",
        placeholders="DATA_ROOT=./ EXP=pascal_scribble TRAIN_SET=train TEST_SET=val, run in that folder",
    )
)
def prepare_voc(sources: list[str], out: str | os.PathLike[str]) -> Prepared:
    """VOC 2012, with SegmentationClassAug and the scribbles if the sources have them.

    `out` receives JPEGImages (the photos that have a label), SegmentationClass, SegmentationClassAug and
    pascal_2012_scribble (as far as the sources have them), ImageSets/Segmentation, and in
    pascal_scribble/list the lists that the experiments' prototxts name, with names relative to `out`:

    * train.txt: photo and scribble, for every scribble whose photo is not in val;
    * train_aug.txt: photo and full mask, chosen in the same way;
    * val.txt: photo and mask of VOC's own val; the masks come from SegmentationClassAug if it has them.

    Args:
        sources: folders and archives in any order: VOCtrainval_11-May-2012.tar, SegmentationClassAug.zip,
            pascal_2012_scribble.zip, or what they unpack to. A file's folder shows what it is.
        out: created if it does not exist. Existing files and lists with the same content stay; other files
            with the same names are an error.

    Raises:
        DataError: no photos or no val list among the sources, damaged archives, or files that differ from
            existing ones.
    """
    folder = Path(out)
    with Sources(sources) as opened:
        kinds = {kind: by_stem(opened.entries, kind) for kind in (PHOTOS, MASKS, _FULL_MASKS, _SCRIBBLES)}
        kinds[_SPLITS] = by_stem(opened.entries, _SPLITS, (".txt",))
        photos, splits = kinds[PHOTOS], kinds[_SPLITS]
        if not photos:
            raise missing("the photos are", sources, f"{PHOTOS}/*.jpg, as in VOCtrainval_11-May-2012.tar")
        if "val" not in splits:
            raise missing("the list of the validation photos is", sources, f"{_SPLITS}/val.txt")
        labelled: set[str] = set().union(*(kinds[kind] for kind in (MASKS, _FULL_MASKS, _SCRIBBLES)))
        kinds[PHOTOS] = {stem: entry for stem, entry in photos.items() if stem in labelled}
        files = {kind: copy(entries, folder / kind) for kind, entries in kinds.items() if entries}
        val = splits["val"].read().decode("utf-8", "replace").split()
    return _lists(folder, kinds, val, files)


def _lists(out: Path, kinds: dict[str, dict[str, Entry]], val: list[str], files: dict[str, int]) -> Prepared:
    held_out: set[str] = set(val)
    notes: list[str] = []
    lists = {"train": (_SCRIBBLES, sorted(set(kinds[_SCRIBBLES]) - held_out))}
    lists["train_aug"] = (_FULL_MASKS, sorted(set(kinds[_FULL_MASKS]) - held_out))
    lists["val"] = (_FULL_MASKS if kinds[_FULL_MASKS] else MASKS, val)
    lengths = {}
    for name, (folder, stems) in lists.items():
        usable = [stem for stem in stems if stem in kinds[PHOTOS] and stem in kinds[folder]]
        if len(usable) < len(stems):
            notes.append(
                f"{name}.txt: {len(stems) - len(usable)} ids without a photo or a label are left out"
            )
        if not usable:
            notes.append(f"{name}.txt is not written: {folder} has no labels for it")
            continue
        photos = kinds[PHOTOS]
        lines = [f"{PHOTOS}/{photos[stem].path.name} {folder}/{stem}.png" for stem in usable]
        lengths[f"{_LISTS}/{name}.txt"] = write_list(out / _LISTS / f"{name}.txt", lines)
    return Prepared(files, lengths, notes)
