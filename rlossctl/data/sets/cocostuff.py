"""COCO-Stuff: 10k (9,000 and 1,000 photos) and 164k (118,287 and 5,000), 171 classes (Caesar et al. 2018).

Ids run from 1 to 182; eleven of them are COCO's objects that were never annotated. Both 171 classes,
without those, and 182, where a class is its id less one, are in use.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from rlossctl.data.archives import Entry, Sources
from rlossctl.data.classes import Classes, read_classes
from rlossctl.data.sets.ids import label_image, matlab, renumbered
from rlossctl.data.sets.laying_out import Layout, Part, Prepared, by_ending, by_stem, chosen, missing
from rlossctl.data.sets.registry import DataSet, Download, data_set

_ALL = read_classes("cocostuff")
_NEVER = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)  # ids of objects that COCO names but never annotated
_USED = [label for label in range(1, len(_ALL.names) + 1) if label not in _NEVER]
_CALVIN = "https://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset"
_COCO = ("https://s3.amazonaws.com/images.cocodataset.org/zips", "https://images.cocodataset.org/zips")
_TERMS = "https://github.com/nightrome/cocostuff#licensing"
DOWNLOADS_10K = (
    Download(
        "cocostuff10k",
        "cocostuff-10k-v1.1.zip",
        (f"{_CALVIN}/cocostuff-10k-v1.1.zip",),
        what="photos, labels and splits",
        terms=_TERMS,
    ),
)
DOWNLOADS_164K = (
    Download(
        "coco_train2017",
        "train2017.zip",
        tuple(f"{place}/train2017.zip" for place in _COCO),
        md5="cced6f7f71b7629ddf16f17bbcfab6b2",
        what="COCO's training photos",
        terms="https://cocodataset.org/#termsofuse",
    ),
    Download(
        "coco_val2017",
        "val2017.zip",
        tuple(f"{place}/val2017.zip" for place in _COCO),
        md5="442b8da7639aecaf257c1dceb8ba8c80",
        what="COCO's validation photos",
        terms="https://cocodataset.org/#termsofuse",
    ),
    Download(
        "cocostuff_maps",
        "stuffthingmaps_trainval2017.zip",
        (f"{_CALVIN}/stuffthingmaps_trainval2017.zip",),
        what="labels of both",
        terms=_TERMS,
    ),
)


def _own_ids(count: int, void: int) -> dict[int, int]:
    """Id 1..182 -> class, for 171 or 182 classes; 0 is unlabelled."""
    used = _USED if count == len(_USED) else range(1, count + 1)
    return {0: void, **{label: place for place, label in enumerate(used)}}


def prepare_10k(
    sources: list[str], out: str | os.PathLike[str], void: int = 255, *, count: int = len(_USED)
) -> Prepared:
    """COCO-Stuff 10k from cocostuff-10k-v1.1: images, annotations (.mat, ids in S) and imageLists.

    Raises:
        DataError: no photo with its label, no lists, labels with other ids.
    """
    convert = renumbered(_own_ids(count, void), "COCO-Stuff's ids, 0..182", read=matlab("S"))
    with Sources(sources) as opened:
        photos = by_stem(opened.entries, "images")
        labels = by_stem(opened.entries, "annotations", (".mat",))
        splits = by_stem(opened.entries, "imageLists", (".txt",))
        if "train" not in splits or "test" not in splits:
            raise missing(
                "the lists of the splits are", opened, "imageLists/train.txt and imageLists/test.txt"
            )
        layout = Layout(Path(out), opened, "images/NAME.jpg with annotations/NAME.mat")
        parts = (("train", "train"), ("val", "test"))  # the test part is what papers validate on
        for name, split in parts:
            names = set(splits[split].read().decode("utf-8", "replace").split())
            layout.add(Part(name, chosen(photos, names), chosen(labels, names), convert))
        return layout.done()


def prepare_164k(
    sources: list[str], out: str | os.PathLike[str], void: int = 255, *, count: int = len(_USED)
) -> Prepared:
    """COCO-Stuff 164k from COCO's train2017 and val2017 (.jpg) and the stuffthingmaps (.png) of these names.

    The maps hold ids less one; 255 is unlabelled.

    Raises:
        DataError: no photo with its label, labels with other ids.
    """
    ids = {(label - 1) % 256: to for label, to in _own_ids(count, void).items()}
    convert = renumbered(ids, "COCO-Stuff's ids less one, 0..181, and 255", read=label_image)
    with Sources(sources) as opened:
        layout = Layout(
            Path(out), opened, "train2017/NAME.jpg with train2017/NAME.png, or the same of val2017"
        )
        layout.add(
            *(
                Part(split, by_ending(opened.entries, folder, ".jpg"), _maps(opened.entries, folder), convert)
                for split, folder in (("train", "train2017"), ("val", "val2017"))
            )
        )
        return layout.done()


def _maps(entries: list[Entry], folder: str) -> dict[str, Entry]:
    """The maps in a folder, without what other programs put beside them (NAME_labelTrainIds.png)."""
    found = by_ending(entries, folder, ".png")
    return {stem: entry for stem, entry in found.items() if stem.isdecimal()}


def _add(form: str, count: int, classes: Classes) -> None:
    """Registers one form with one number of classes."""
    small = form == "10k"
    entry = DataSet(
        name=f"cocostuff{form}" + ("" if count == len(_USED) else f"_{count}"),
        title=f"COCO-Stuff {form}",
        classes=classes.names,
        colours=classes.colours,
        ignore_label_free=True,
        published={"train.txt": 9000, "val.txt": 1000} if small else {"train.txt": 118287, "val.txt": 5000},
        ids="without eleven unused" if count == len(_USED) else "less one",
        downloads=() if count != len(_USED) else DOWNLOADS_10K if small else DOWNLOADS_164K,
        folder=f"COCOStuff{form}",
        help=f"{count} classes; " + (".mat labels" if small else "train2017, val2017 and stuffthingmaps"),
    )
    data_set(entry)(partial(prepare_10k if small else prepare_164k, count=count))


for _form in ("10k", "164k"):
    _add(_form, len(_USED), _ALL.chosen([label - 1 for label in _USED]))
    _add(_form, len(_ALL.names), _ALL)
