"""PASCAL VOC 2012, with the masks of SBD (PNG or .mat), scribbles and clicks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.data.archives import Entry, Sources
from rlossctl.data.classes import read_classes
from rlossctl.data.sets.clicks import add_clicks, without_json
from rlossctl.data.sets.ids import grey_image, matlab, renumbered
from rlossctl.data.sets.laying_out import (
    MASKS,
    PHOTOS,
    Layout,
    Prepared,
    by_ending,
    by_stem,
    missing,
)
from rlossctl.data.sets.registry import DataSet, Download, data_set
from rlossctl.errors import DataError

if TYPE_CHECKING:
    import numpy as np

CLASSES, _COLOURS = read_classes("voc")
_FULL_MASKS, _SCRIBBLES, _SPLITS = "SegmentationClassAug", "pascal_2012_scribble", "ImageSets/Segmentation"
_S4 = "s4Pascal"  # the scribbles of Scribbles for All (Boettcher et al. 2024)
_LISTS = "pascal_scribble/list"  # ${EXP}/list in the experiments' prototxts
_IDS = {**{label: label for label in range(len(CLASSES))}, 255: 255}
DOWNLOADS = (
    Download(
        "voc2012",
        "VOCtrainval_11-May-2012.tar",
        (
            "https://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
            "https://pjreddie.com/media/files/VOCtrainval_11-May-2012.tar",
            "https://d2l-data.s3-accelerate.amazonaws.com/VOCtrainval_11-May-2012.tar",
        ),
        sha256="e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",  # of TensorFlow Datasets
        size=1_999_639_040,
        what="photos, masks and splits",
        terms="https://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    ),
    Download(
        "aug",
        "SegmentationClassAug.zip",
        (
            "https://www.dropbox.com/s/oeu149j8qtbs1x0/SegmentationClassAug.zip?dl=1",
            "https://cs.jhu.edu/~cxliu/data/SegmentationClassAug.zip",
        ),
        what="SBD's masks as PNG",
    ),
    Download(
        "scribbles",
        "pascal_2012_scribble.zip",
        ("https://cs.uwaterloo.ca/~m62tang/rloss/pascal_2012_scribble.zip",),
        what="ScribbleSup's scribbles as PNG",
    ),
    Download(
        "sbd",
        "benchmark.tgz",
        (
            "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
        ),
        md5="82b4d87ceb2ed10f6038a1cba92111cb",  # of torchvision
        what="SBD's masks as .mat, in place of aug",
        extra=True,
    ),
    Download(
        "s4pascal",
        "s4Pascal.tar.gz",
        ("https://github.com/wbkit/Scribbles4All/raw/main/s4Pascal.tar.gz",),
        what="scribbles of Scribbles for All (CC BY 4.0)",
        terms="https://github.com/wbkit/Scribbles4All",
        extra=True,
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
        colours=_COLOURS,
        ignore_colour=(224, 224, 192),
        palette=_palette,
        published={
            f"{_LISTS}/train.txt": 10582,
            f"{_LISTS}/train_aug.txt": 10582,
            f"{_LISTS}/val.txt": 1449,
            f"{_LISTS}/train_s4.txt": 10582,
        },
        downloads=DOWNLOADS,
        folder="VOC2012",
        help="VOC 2012; SegmentationClassAug or SBD; scribbles, s4Pascal, clicks as .json",
        placeholders="DATA_ROOT=./ EXP=pascal_scribble TRAIN_SET=train TEST_SET=val, run in that folder",
    )
)
def prepare_voc(sources: list[str], out: str | os.PathLike[str]) -> Prepared:
    """VOC 2012, with full masks, scribbles and clicks if the sources have them.

    `out` receives JPEGImages (the photos that have a label), SegmentationClass, SegmentationClassAug,
    pascal_2012_scribble and s4Pascal (as far as the sources have them), ImageSets/Segmentation, and in
    pascal_scribble/list the lists that the experiments' prototxts name, with names relative to `out`:

    * train.txt: photo and scribble, for every scribble whose photo is not in val;
    * train_aug.txt: photo and full mask, chosen in the same way;
    * val.txt: photo and mask of VOC's own val; the masks come from SegmentationClassAug if it has them;
    * train_s4.txt: as train.txt, with the scribbles of Scribbles for All.

    Masks of SBD (cls/*.mat) become SegmentationClassAug together with VOC's own, which come first.

    Args:
        sources: folders and archives in any order: VOCtrainval_11-May-2012.tar, SegmentationClassAug.zip,
            benchmark.tgz, pascal_2012_scribble.zip, s4Pascal.tar.gz, or what they unpack to. A file's folder
            shows what it is. A .json file has clicks as those of What's the Point.
        out: created if it does not exist. Existing files and lists with the same content stay; other files
            with the same names are an error.

    Raises:
        DataError: no photos or no val list among the sources, damaged archives, or files that differ from
            existing ones.
    """
    archives, clicks = without_json(sources)
    with Sources(archives) as opened:
        photos = by_stem(opened.entries, PHOTOS) or by_stem(opened.entries, "img")
        splits = by_stem(opened.entries, _SPLITS, (".txt",))
        if not photos:
            raise missing("the photos are", opened, f"{PHOTOS}/*.jpg, as in VOCtrainval_11-May-2012.tar")
        if "val" not in splits:
            raise missing("the list of the validation photos is", opened, f"{_SPLITS}/val.txt")
        labels = _labels(opened.entries)
        labelled: set[str] = set().union(*labels.values())
        if clicks:
            labelled |= photos.keys()
        kinds = {PHOTOS: {stem: entry for stem, entry in photos.items() if stem in labelled}}
        kinds |= labels
        layout = Layout(Path(out), opened, "")
        for kind, entries in (kinds | {_SPLITS: splits}).items():
            if entries:
                layout.copy(kind, entries, *_CONVERTED.get(kind, ()))
        val = splits["val"].read().decode("utf-8", "replace").split()
        _lists(layout, kinds, val)
        if clicks:
            add_clicks(layout, clicks, kinds[PHOTOS].keys() - set(val), "train_clicks", len(CLASSES))
        return layout.done()


def _labels(entries: Sequence[Entry]) -> dict[str, dict[str, Entry]]:
    """Kind -> label files by name. VOC's own masks come before SBD's, those of SegmentationClassAug first."""
    others = (MASKS, _FULL_MASKS, _SCRIBBLES)
    labels = {kind: by_stem(entries, kind) for kind in others}
    labels[_S4] = by_ending((one for one in entries if one.path.parent.name not in others), _S4, ".png")
    sbd = by_stem(entries, "cls", (".mat",))
    if sbd:
        labels[_FULL_MASKS] = sbd | labels[MASKS] | labels[_FULL_MASKS]
    return labels


def _full_mask(content: bytes, where: str) -> bytes:
    """SBD's .mat and VOC's palettes as plain PNGs; those of SegmentationClassAug stay as they are."""
    if where.endswith(".mat"):
        return _FROM_MATLAB(content, where)
    return _FROM_PALETTE(content, where) if content[25:26] == _PALETTE_PNG else content


def _scribble(content: bytes, where: str) -> np.ndarray:
    label = grey_image(content, where)
    if not (label == 255).any():
        raise DataError(
            "these scribbles leave no pixel unlabelled",
            where=where,
            found=f"ids {label.min()}..{label.max()}",
            expected="255 where there is no scribble",
            advice="take the scribbles of s4Pascal.tar.gz",
        )
    return label


_PALETTE_PNG = b"\x03"  # the colour type in the header of a PNG with a palette
_FROM_MATLAB = renumbered(_IDS, "0..20, and 255 for borders", read=matlab("GTcls", "Segmentation"))
_FROM_PALETTE = renumbered(_IDS, "0..20, and 255 for borders")
_CONVERTED = {
    _FULL_MASKS: (_full_mask, ".png"),
    _S4: (renumbered(_IDS, "0..20, and 255 where there is no scribble", read=_scribble), ".png"),
}


def _lists(layout: Layout, kinds: Mapping[str, Mapping[str, Entry]], val: list[str]) -> None:
    held_out: set[str] = set(val)
    photos = kinds[PHOTOS]
    lists = {
        name: (kind, sorted(set(kinds[kind]) - held_out))
        for name, kind in (("train", _SCRIBBLES), ("train_aug", _FULL_MASKS), ("train_s4", _S4))
    }
    lists["val"] = (_FULL_MASKS if kinds[_FULL_MASKS] else MASKS, val)
    for name, (folder, stems) in lists.items():
        usable = [stem for stem in stems if stem in photos and stem in kinds[folder]]
        if len(usable) < len(stems):
            alone = f"{len(stems) - len(usable)} ids without a photo or a label are left out"
            layout.notes.append(f"{name}.txt: {alone}")
        if usable:
            lines = [f"{PHOTOS}/{stem}{photos[stem].path.suffix} {folder}/{stem}.png" for stem in usable]
            layout.write_list(f"{_LISTS}/{name}.txt", lines)
