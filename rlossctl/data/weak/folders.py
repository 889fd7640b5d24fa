"""Scribbles and other weak labels for a folder or a list of masks."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from rlossctl.data.images import read_label
from rlossctl.data.lists import find_label_dir, read_list
from rlossctl.data.palette import save_label_png
from rlossctl.data.weak.kinds import WITH_COVERAGE, make_weak_label
from rlossctl.data.weak.scribble import UNLABELLED
from rlossctl.errors import DataError, UsageError
from rlossctl.files import make_folder
from rlossctl.progress import track


@dataclass(frozen=True)
class Mask:
    """A label image, its photo if known, and the list's line that names it."""

    path: Path
    image: str | None
    listed: str | None


@dataclass(frozen=True)
class WeakSummary:
    """The result of `write_weak_labels`: number of files, and mean share of labelled pixels, 0..1."""

    files: int
    coverage: float


def find_masks(source: str | os.PathLike[str], root: str | os.PathLike[str] = "") -> list[Mask]:
    """The masks in a folder (its PNG files) or a list (the last of one or two columns, or VOC ids).

    Raises:
        DataError: there are no masks, or two have the same name, so that their labels would overwrite each
            other.
    """
    if Path(source).is_dir():
        masks = [Mask(path, None, None) for path in sorted(Path(source).glob("*.png"))]
    else:
        samples = read_list(source, root, labels="optional", label_dir=find_label_dir(source, root))
        masks = [
            Mask(
                Path(sample.label or sample.image),
                sample.image if sample.label else None,
                f"{source}:{sample.line}",
            )
            for sample in samples
        ]
    if not masks:
        raise DataError(
            "no masks found",
            where=source,
            found="no PNG file",
            expected="label images named *.png, or a list file that names them",
            advice="name the folder that directly holds the masks",
        )
    seen: dict[str, Path] = {}
    for mask in masks:
        other = seen.setdefault(mask.path.stem, mask.path)
        if other != mask.path:
            raise DataError(
                "two masks have the same name",
                where=mask.listed or source,
                found=f"{other} and {mask.path}",
                expected="file names that differ, because all labels go into one folder",
                advice="process the masks folder by folder",
            )
    return masks


def write_weak_labels(
    masks: list[Mask],
    out: str | os.PathLike[str],
    *,
    kind: str = "strokes",
    coverage: float | None = None,
    width: int = 3,
    seed: int = 0,
    ignore: int = 255,
) -> WeakSummary:
    """Writes out/NAME.png for each mask: one channel of class ids, 255 unlabelled (see `make_weak_label`).

    A mask's label depends on the seed and the mask's name, not on the other masks.

    Raises:
        DataError: a mask cannot be read.
        UsageError: `out` is a folder that holds masks, or a coverage is given for a kind without one.
        RlossError: `out` cannot be written.
    """
    if coverage is not None and kind not in WITH_COVERAGE:
        raise UsageError(
            f"--coverage does not apply to {kind}",
            found=f"--coverage {coverage:g}",
            expected=f"--kind {' or '.join(WITH_COVERAGE)} with it",
            advice="leave out --coverage",
        )
    folder = make_folder(out)
    for mask in masks:
        if mask.path.resolve().parent == folder.resolve():
            raise UsageError(
                "the weak labels would overwrite the masks",
                where=folder,
                found=f"mask {mask.path}",
                expected="a separate folder for the labels",
                advice="name a new folder",
            )
    share = 0.0
    for mask in track(masks, len(masks), "masks"):
        ids = read_label(mask.path, listed=mask.listed)
        own_seed = (seed << 32) ^ zlib.crc32(mask.path.stem.encode("utf-8", "surrogateescape"))
        label = make_weak_label(ids, kind, coverage=coverage, width=width, seed=own_seed, ignore=ignore)
        save_label_png(folder / f"{mask.path.stem}.png", label, palette=False)
        share += float((label != UNLABELLED).mean())
    return WeakSummary(len(masks), share / len(masks))


def label_list(
    masks: list[Mask], out: str | os.PathLike[str], root: str | os.PathLike[str] = ""
) -> tuple[list[str], str]:
    """Lines `image label` of a Caffe list for the labels in `out`, and the root_folder they need.

    Names are relative to `root` if all images and labels lie below it. Otherwise they are absolute and the
    root_folder is empty.

    Raises:
        DataError: the masks have no photos, or a name contains a space, which a list cannot hold.
    """
    base = Path(root).absolute()  # links are not resolved: a data folder is often a link
    pairs = []
    for mask in masks:
        if mask.image is None:
            raise DataError(
                "a list needs a photo for every mask",
                where=mask.listed or mask.path,
                found="a mask alone",
                expected="a list with `image mask` lines, or VOC ids",
                advice="give such a list instead of the folder of masks, or leave out --list",
            )
        pairs.append((Path(mask.image).absolute(), Path(out).absolute() / f"{mask.path.stem}.png"))
    below = bool(str(root)) and all(name.is_relative_to(base) for pair in pairs for name in pair)
    lines = []
    for pair in pairs:
        names = [str(name.relative_to(base) if below else name) for name in pair]
        if any(len(name.split()) != 1 for name in names):
            raise DataError(
                "a list cannot hold this name",
                where=out,
                found=" ".join(names),
                expected="names without spaces, because Caffe separates image and label by a space",
                advice="move the data to a folder without spaces, or give it as --root",
            )
        lines.append(" ".join(names))
    return lines, f"{base}/" if below else ""
