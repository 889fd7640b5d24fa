"""The data sets that the programs' configurations name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Set(NamedTuple):
    """A data set: its name in `rlossctl data prepare`, its classes, and how many images a split has."""

    name: str
    classes: int
    splits: Mapping[str, int]


VOC = Set(
    "voc",
    21,
    {
        "train": 1464,
        "train_aug": 10582,
        "trainval": 2913,
        "trainval_aug": 12031,
        "val": 1449,
        "val_aug": 1449,
    },
)
CITYSCAPES = Set("cityscapes", 19, {"train": 2975, "train_extra": 19998, "val": 500})
ADE20K = Set("ade20k", 150, {"training": 20210, "validation": 2000})
COCO_164K = Set("cocostuff164k_182", 182, {"train2017": 118287, "val2017": 5000})
COCO_10K = Set("cocostuff10k_182", 182, {"train": 9000, "test": 1000, "all": 10000})
KVASIR = Set("kvasir", 2, {"train": 880, "val": 120})
CONTEXT = Set("context59", 59, {"train": 4998, "val": 5105})
