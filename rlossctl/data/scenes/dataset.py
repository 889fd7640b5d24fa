"""Generating a small data set in VOC's layout: photos, full masks, thin scribbles and lists."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from rlossctl.data.lists import write_lines
from rlossctl.data.palette import save_label_png
from rlossctl.data.scenes.scene import draw_scene
from rlossctl.data.sets.scenes import CLASSES
from rlossctl.data.weak.scribble import make_scribbles
from rlossctl.errors import DataError
from rlossctl.files import atomic_write, make_folder
from rlossctl.progress import track

SYNTHETIC_CLASSES = CLASSES
_IMAGES, _MASKS, _SCRIBBLES = "JPEGImages", "SegmentationClassAug", "pascal_2012_scribble"


def generate_dataset(
    folder: str | os.PathLike[str],
    *,
    train: int,
    val: int,
    size: tuple[int, int] = (129, 129),
    seed: int = 0,
    coverage: float = 0.03,
    width: int = 3,
) -> Path:
    """Writes scenes of SYNTHETIC_CLASSES (see `scenes.draw_scene`) in the layout of VOC with scribbles.

    Below `folder`: JPEGImages/ID.jpg, SegmentationClassAug/ID.png (palette), pascal_2012_scribble/ID.png (one
    channel, 255 unlabelled), ImageSets/Segmentation/{train,val}.txt (ids) and Caffe lists with names relative
    to the folder: list/train.txt (image and scribble), list/train_full.txt and list/val.txt (image and mask).
    Validation images have scribbles too, but no list names them.

    Args:
        train, val: number of images.
        size: (height, width) in pixels.
        seed: the same numbers and seed give the same files; an image does not depend on the number of images.
        coverage, width: of the scribbles, as for `make_scribbles`.

    Returns:
        The folder.

    Raises:
        DataError: a split has no images, or the images are under 32 pixels.
        RlossError: the folder cannot be written.
    """
    if train < 1 or val < 1 or min(size) < 32:
        raise DataError(
            "this data set cannot be generated",
            where=folder,
            found=f"{train} + {val} images of {size[0]}x{size[1]}",
            expected="at least one image in each split, at least 32x32 pixels",
            advice="ask for more or larger images",
        )
    folder = Path(folder)
    for name in (_IMAGES, _MASKS, _SCRIBBLES, "ImageSets/Segmentation", "list"):
        make_folder(folder / name)
    counts = {"train": train, "val": val}
    ids = {split: [f"{split}_{index:05d}" for index in range(count)] for split, count in counts.items()}
    scenes = [(split, index, name) for split in ids for index, name in enumerate(ids[split])]
    for split, index, name in track(scenes, len(scenes), "images"):
        rng = np.random.default_rng([seed % 2**64, split == "val", index])
        _write_scene(folder, name, rng, size, coverage, width)
    for split, names in ids.items():
        write_lines(folder / f"ImageSets/Segmentation/{split}.txt", names)
        masks = "train_full" if split == "train" else "val"
        write_lines(folder / f"list/{masks}.txt", [_pair(name, _MASKS) for name in names])
    write_lines(folder / "list/train.txt", [_pair(name, _SCRIBBLES) for name in ids["train"]])
    return folder


def _write_scene(
    folder: Path, name: str, rng: np.random.Generator, size: tuple[int, int], coverage: float, width: int
) -> None:
    photo, mask = draw_scene(rng, size)
    scribble = make_scribbles(mask, coverage=coverage, width=width, seed=int(rng.integers(2**63)))
    with atomic_write(folder / _IMAGES / f"{name}.jpg") as file:
        # Full-resolution colour: at this size, halved chroma would blur the outlines.
        Image.fromarray(photo).save(file, format="JPEG", quality=95, subsampling=0)
    save_label_png(folder / _MASKS / f"{name}.png", mask)
    save_label_png(folder / _SCRIBBLES / f"{name}.png", scribble, palette=False)


def _pair(name: str, labels: str) -> str:
    return f"{_IMAGES}/{name}.jpg {labels}/{name}.png"
