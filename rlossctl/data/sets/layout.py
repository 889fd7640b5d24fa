"""VOC and CamVid as people download them, brought into the layout that the prototxts of configs/ expect."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rlossctl.data.archives import Entry, Sources
from rlossctl.data.images import decode_label
from rlossctl.errors import DataError
from rlossctl.files import atomic_write, make_folder
from rlossctl.progress import track

PHOTOS, MASKS, FULL_MASKS = "JPEGImages", "SegmentationClass", "SegmentationClassAug"
SCRIBBLES, SPLITS = "pascal_2012_scribble", "ImageSets/Segmentation"
VOC_LISTS = "pascal_scribble/list"  # ${EXP}/list in the experiments' prototxts
SEGNET_VOID = 11  # what SegNet's CamVid labels call unlabelled
_SEGNET_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Prepared:
    """What was laid out: how many files of each kind, how many lines in each list, and remarks."""

    files: dict[str, int]
    lists: dict[str, int]
    notes: list[str]


def prepare_voc(sources: list[str], out: str | os.PathLike[str]) -> Prepared:
    """VOC 2012 with what is there of SegmentationClassAug and the scribbles.

    Below `out`: JPEGImages, SegmentationClass, SegmentationClassAug, pascal_2012_scribble (those that the
    sources have; of the photos those with a label), ImageSets/Segmentation, and in pascal_scribble/list the
    lists that the experiments' prototxts name, with names relative to `out`:

    * train.txt: photo and scribble, for every scribble whose photo is not in val;
    * train_aug.txt: photo and full mask of the same kind;
    * val.txt: photo and mask of VOC's own val, the masks from SegmentationClassAug where they are there.

    Args:
        sources: folders and archives in any order: VOCtrainval_11-May-2012.tar, SegmentationClassAug.zip,
            pascal_2012_scribble.zip, or what they unpack to. Files are known by the folder that they lie in.
        out: made where it does not exist. Files and lists that are there with the same content stay; others
            of the same name are an error.

    Raises:
        DataError: no photos or no val list among the sources, damaged archives, files that differ from
            those already there.
    """
    out = Path(out)
    with Sources(sources) as opened:
        kinds = {
            kind: _by_stem(opened.entries, kind) for kind in (PHOTOS, MASKS, FULL_MASKS, SCRIBBLES, SPLITS)
        }
        photos, splits = kinds[PHOTOS], kinds[SPLITS]
        if not photos:
            raise _missing("the photos are", sources, f"{PHOTOS}/*.jpg, as in VOCtrainval_11-May-2012.tar")
        if "val" not in splits:
            raise _missing("the list of the validation photos is", sources, f"{SPLITS}/val.txt")
        labelled = set().union(*(kinds[kind] for kind in (MASKS, FULL_MASKS, SCRIBBLES)))
        kinds[PHOTOS] = {stem: entry for stem, entry in photos.items() if stem in labelled}
        files = {kind: _copy(entries, out / kind) for kind, entries in kinds.items() if entries}
        val = splits["val"].read().decode("utf-8", "replace").split()
    return _voc_lists(out, kinds, val, files)


def _voc_lists(
    out: Path, kinds: dict[str, dict[str, Entry]], val: list[str], files: dict[str, int]
) -> Prepared:
    held_out, notes = set(val), []
    lists = {"train": (SCRIBBLES, sorted(set(kinds[SCRIBBLES]) - held_out))}
    lists["train_aug"] = (FULL_MASKS, sorted(set(kinds[FULL_MASKS]) - held_out))
    lists["val"] = (FULL_MASKS if kinds[FULL_MASKS] else MASKS, val)
    lengths = {}
    for name, (folder, stems) in lists.items():
        usable = [stem for stem in stems if stem in kinds[PHOTOS] and stem in kinds[folder]]
        if len(usable) < len(stems):
            notes.append(
                f"{name}.txt: {len(stems) - len(usable)} ids without a photo or a label are left out"
            )
        if not usable:
            notes.append(f"{name}.txt is not written: there are no labels of {folder} for it")
            continue
        photos = kinds[PHOTOS]
        lines = [f"{PHOTOS}/{photos[stem].path.name} {folder}/{stem}.png" for stem in usable]
        lengths[f"{VOC_LISTS}/{name}.txt"] = _write_list(out / VOC_LISTS / f"{name}.txt", lines)
    return Prepared(files, lengths, notes)


def prepare_camvid(sources: list[str], out: str | os.PathLike[str], void: int = 255) -> Prepared:
    """CamVid from the folder or archive of SegNet's tutorial.

    Its folders train, val and test hold photos, trainannot, valannot and testannot labels 0..10 and 11 for
    void. Below `out`: JPEGImages, SegmentationClass (void written as `void`) and train.txt, val.txt, test.txt
    with names relative to `out`.

    Raises:
        DataError: no training photos, a photo without a label, labels with other ids.
    """
    out, files, lists = Path(out), {}, {}
    with Sources(sources) as opened:
        for split in _SEGNET_SPLITS:
            photos, labels = _by_stem(opened.entries, split), _by_stem(opened.entries, f"{split}annot")
            if not photos and split != "train":
                continue
            if not photos:
                raise _missing("the training photos are", sources, "train/*.png, as in SegNet's tutorial")
            if set(photos) != set(labels):
                alone = sorted(set(photos) ^ set(labels))[0]
                pair = f"{split}/{alone}.png and {split}annot/{alone}.png"
                raise _missing(f"photo or label of {alone} is", sources, pair)
            files[PHOTOS] = files.get(PHOTOS, 0) + _copy(photos, out / PHOTOS)
            convert = _segnet_label(void)
            files[MASKS] = files.get(MASKS, 0) + _copy(labels, out / MASKS, convert)
            lines = [f"{PHOTOS}/{photos[stem].path.name} {MASKS}/{stem}.png" for stem in sorted(photos)]
            lists[f"{split}.txt"] = _write_list(out / f"{split}.txt", lines)
    return Prepared(files, lists, [])


def _segnet_label(void: int) -> Callable[[bytes, str], bytes]:
    def convert(content: bytes, where: str) -> bytes:
        ids = decode_label(content, where)
        if ids.max() > SEGNET_VOID:
            raise DataError(
                "label ids out of range",
                where=where,
                found=f"id {ids.max()}",
                expected=f"0..{SEGNET_VOID - 1}, and {SEGNET_VOID} for void",
                advice="use the labels of SegNet's tutorial (CamVid with 11 classes)",
            )
        buffer = io.BytesIO()
        Image.fromarray(np.where(ids == SEGNET_VOID, void, ids).astype(np.uint8)).save(buffer, format="PNG")
        return buffer.getvalue()

    return convert


def _by_stem(entries: Iterable[Entry], folder: str) -> dict[str, Entry]:
    """The pictures (or lists) in `folder`, by name without suffix; the first of a name counts."""
    wanted = Path(folder).parts
    suffixes = (".txt",) if folder == SPLITS else (".jpg", ".jpeg", ".png")
    found: dict[str, Entry] = {}
    for entry in entries:
        path = entry.path
        if path.parent.parts[-len(wanted) :] != wanted or path.name.startswith("."):
            continue
        if path.suffix.lower() in suffixes:
            found.setdefault(path.stem, entry)
    return found


def _copy(
    entries: dict[str, Entry],
    folder: Path,
    convert: Callable[[bytes, str], bytes] = lambda content, _: content,
) -> int:
    make_folder(folder)
    for entry in track(entries.values(), len(entries), folder.name):
        _write(folder / entry.path.name, convert(entry.read(), entry.where))
    return len(entries)


def _write(target: Path, content: bytes) -> None:
    """Writes a file unless it is there; one with other content is never touched."""
    if not target.exists():
        with atomic_write(target) as file:
            file.write(content)
    elif target.read_bytes() != content:
        raise DataError(
            "a file of this name with other content is there already",
            where=target,
            found=f"{target.stat().st_size:,} bytes there, {len(content):,} to write",
            expected="the same content, or no such file",
            advice="name another folder with --out, or move the file away",
        )


def _write_list(target: Path, lines: list[str]) -> int:
    make_folder(target.parent)
    _write(target, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    return len(lines)


def _missing(what: str, sources: list[str], expected: str) -> DataError:
    return DataError(
        f"{what} missing",
        where=", ".join(sources),
        found="no such file",
        expected=expected,
        advice="name the archive or the folder that holds them",
    )
