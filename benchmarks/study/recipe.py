"""What all rows of a study share: data, labels, updates, rates."""

from __future__ import annotations

from dataclasses import dataclass

NET = "deeplabv3plus_efficientnet_lite0_small"


@dataclass(frozen=True)
class DataSet:
    """Photos with full masks.

    Attributes:
        name: a data set that rlossctl knows, whose class names it has.
        classes: how many.
        train, val: lists below its root.
        own: a list of photos with their own scribbles and the folder of these, or None.
    """

    name: str
    classes: int
    train: str
    val: str
    own: tuple[str, str] | None = None


DATA = {
    "voc": DataSet(
        "voc",
        21,
        "ImageSets/Segmentation/train.txt",
        "ImageSets/Segmentation/val.txt",
        ("ImageSets/Segmentation/train_scribble.txt", "pascal_2012_scribble"),
    ),
    "camvid": DataSet("camvid", 11, "train.txt", "val.txt"),
}


@dataclass(frozen=True)
class Recipe:
    """A study's settings.

    Attributes:
        crop: side of the crops.
        base: the photo's shorter side is half to twice this before it is cropped.
        batch: photos in an update.
        first: updates with the cross-entropy alone, on the row's labels.
        second: updates with the row's losses, from the first phase's weights.
        rate: base_lr of the first phase for the backbone; the head has ten times that.
        slower: the second phase's rate, as a share of the first's.
        measured: updates over which a pull is measured.
        decay: AdamW's weight decay.
    """

    crop: int = 193
    base: int = 257
    batch: int = 8
    first: int = 400
    second: int = 600
    rate: float = 2e-4
    slower: float = 0.5
    measured: int = 20
    decay: float = 1e-4

    def solver(self, max_iter: int, rate: float, snapshot: int = 100) -> str:
        """A solver for the net train.prototxt beside it."""
        return f"""# AdamW; the backbone's normalisations keep their statistics, the head's gather theirs.
train_net: "train.prototxt"
type: "AdamW"
base_lr: {rate:g}
momentum: 0.9
momentum2: 0.999
delta: 1e-8
weight_decay: {self.decay:g}
freeze: "backbone.*_bn[0-9]"
lr_policy: "poly"
power: 0.9
max_iter: {max_iter}
average_loss: 20
display: 20
snapshot: {snapshot}
snapshot_prefix: "train"
"""
