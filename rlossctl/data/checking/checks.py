"""Checks of a list of photos and labels that find every fault in one pass."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import BinaryIO

import numpy as np
from PIL import Image

from rlossctl.data.images import check_labels, image_orientation, read_image, read_label
from rlossctl.data.label_ids import LabelIds, Suspicion
from rlossctl.data.lists import Sample
from rlossctl.data.sets.registry import data_sets
from rlossctl.errors import DataError
from rlossctl.files import require_regular
from rlossctl.progress import track


@dataclass(frozen=True)
class Finding:
    """A fault (or, with `fatal` false, something worth knowing): its kind, the place, the fact."""

    kind: str
    where: str
    found: str
    fatal: bool = True


@dataclass
class ListReport:
    """The result for one list.

    Attributes:
        images: number of lines in the list.
        findings: in the order of the lines.
        labelled: labelled share of each readable label, 0..1.
        modes: how the label files store their ids: "one channel", "other palette", or a data set's palette.
        good: positions of the samples without a fatal finding.
        ids: the class ids of all readable labels.
    """

    images: int
    findings: list[Finding] = field(default_factory=list)
    labelled: list[float] = field(default_factory=list)
    modes: Counter[str] = field(default_factory=Counter)
    good: list[int] = field(default_factory=list)
    ids: LabelIds = field(default_factory=LabelIds)


@dataclass
class Verification:
    """The reports of all lists by name, and common findings: repeated photos, classes in no label."""

    lists: dict[str, ListReport]
    common: list[Finding]

    @property
    def findings(self) -> list[Finding]:
        """All findings, list by list, the common ones last."""
        return [entry for report in self.lists.values() for entry in report.findings] + self.common

    @property
    def clean(self) -> bool:
        """Whether nothing fatal was found."""
        return not any(entry.fatal for entry in self.findings)


def verify(
    lists: Mapping[str, Sequence[Sample]],
    *,
    num_classes: int | None = None,
    names: Sequence[str] | None = None,
    ignore: int = 255,
) -> Verification:
    """Reads every file of every list and records every fault. A damaged file does not end the pass.

    Fatal: missing or damaged files, labels that are not label images, sizes that differ, ids out of range,
    labels without a labelled pixel, lists whose labels hold only one class and the ignore label (a mask of 0
    and 255), and the same photo (by the SHA-256 of its file) in two lists.
    Only noted: classes that no label has, the same photo twice in one list, a rotation in the EXIF data
    (which is not applied, because labels have none), and palettes that Caffe would read as grey levels.

    Args:
        lists: samples by the list's name.
        num_classes: if given, ids must be 0..num_classes-1 or `ignore`; otherwise any id is accepted.
        names: the classes' names, for the notes; without them, numbers are used.
        ignore: the id of unlabelled pixels.
    """
    seen: dict[str, tuple[str, str]] = {}
    verification = Verification({}, [])
    for name, samples in lists.items():
        report = verification.lists[name] = ListReport(len(samples), ids=LabelIds(ignore))
        for index, sample in enumerate(track(samples, len(samples), "images")):
            findings = list(_check(sample, f"{name}:{sample.line}", num_classes, ignore, report))
            report.findings += findings
            if not any(entry.fatal for entry in findings):
                report.good.append(index)
            verification.common += _duplicate(sample, name, seen)
        report.findings += _palettes(name, report)
        report.findings += _as_findings(name, report.ids.one_class())
    together = reduce(LabelIds.merged, (report.ids for report in verification.lists.values()))
    expected = names or [f"class {index}" for index in range(num_classes or 0)]
    verification.common += _as_findings(", ".join(lists), together.missing(expected))
    return verification


def format_verification(verification: Verification, shown: int = 20) -> str:
    """The report as text: what was checked, and the first findings of each kind."""
    lines = []
    for name, report in verification.lists.items():
        shares = report.labelled or [0.0]
        modes = ", ".join(f"{count} {mode}" for mode, count in report.modes.most_common())
        lines.append(
            f"{name}: {report.images} pairs, {len(report.good)} without a fault; labels: {modes or 'none'}; "
            f"labelled {np.mean(shares):.2%} of the pixels ({min(shares):.2%} to {max(shares):.2%})"
        )
    for kind, findings in _by_kind(verification.findings).items():
        word = "FAULT" if findings[0].fatal else "note"
        lines += ["", f"{word}: {kind} ({len(findings)})"]
        lines += [f"  {entry.where}: {entry.found}" for entry in findings[:shown]]
        if len(findings) > shown:
            lines.append(f"  ... and {len(findings) - shown} more (--json FILE has all)")
    count = sum(entry.fatal for entry in verification.findings)
    return "\n".join([*lines, "", f"{count} faults" if count else "no fault found"])


def _as_findings(where: str, suspicions: Iterable[Suspicion]) -> list[Finding]:
    return [Finding(entry.kind, where, entry.found, entry.fatal) for entry in suspicions]


def _by_kind(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    kinds: dict[str, list[Finding]] = {}
    for entry in sorted(findings, key=lambda entry: not entry.fatal):
        kinds.setdefault(entry.kind, []).append(entry)
    return kinds


def _check(
    sample: Sample, listed: str, num_classes: int | None, ignore: int, report: ListReport
) -> Iterator[Finding]:
    photo = label = None
    try:
        photo = read_image(sample.image)
        turned = image_orientation(sample.image)
        if turned != 1:
            found = f"{sample.image}: EXIF orientation {turned}, which is not applied"
            yield Finding("photo with a rotation", listed, found, fatal=False)
    except DataError as error:
        yield Finding(error.message, listed, f"{sample.image}: {error.found}")
    try:
        path = sample.label or ""
        label = read_label(path)
        report.modes[_mode(path)] += 1
        yield from _check_ids(label, listed, path, num_classes, ignore, report)
    except DataError as error:
        yield Finding(error.message, listed, f"{sample.label}: {error.found}")
    if photo is not None and label is not None and photo.shape[:2] != label.shape:
        found = "image {1}x{0}, label {3}x{2} (width x height)".format(*photo.shape[:2], *label.shape)
        yield Finding("image and label differ in size", listed, found)


def _check_ids(
    label: np.ndarray, listed: str, path: str, num_classes: int | None, ignore: int, report: ListReport
) -> Iterator[Finding]:
    share = float((label != ignore).mean())
    report.labelled.append(share)
    report.ids.add(label)
    if share == 0:
        yield Finding("nothing is labelled", listed, f"{path}: all {label.size} pixels are {ignore}")
    if num_classes is not None:
        try:
            check_labels(label, num_classes, ignore, listed)
        except DataError as error:
            yield Finding(error.message, listed, f"{path}: {error.found}; expected {error.expected}")


def _mode(path: str) -> str:
    with Image.open(path) as image:
        if image.mode != "P":
            return "one channel"
        palette = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
    for entry in data_sets().values():
        if entry.palette is not None and np.array_equal(palette, entry.palette()[: len(palette)]):
            return f"{entry.title}'s palette"
    return "other palette"


def _palettes(name: str, report: ListReport) -> Iterator[Finding]:
    count = sum(number for mode, number in report.modes.items() if mode.endswith("palette"))
    if count:
        found = f"{count} labels: rlossctl reads their indices, Caffe itself would read grey levels"
        yield Finding("labels with a palette", name, found, fatal=False)
    if len(report.modes) > 1:
        found = ", ".join(f"{number} {mode}" for mode, number in report.modes.items())
        yield Finding("labels stored in different ways", name, found, fatal=False)


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while piece := file.read(2**20):
        digest.update(piece)
    return digest.hexdigest()


def _duplicate(sample: Sample, name: str, seen: dict[str, tuple[str, str]]) -> Iterator[Finding]:
    """Compares the photo's content with every earlier photo, and remembers it."""
    try:
        require_regular(sample.image)
        with open(sample.image, "rb") as file:
            digest = _sha256(file)
    except OSError:
        return  # missing files are reported elsewhere
    if digest not in seen:
        seen[digest] = name, f"{sample.image} ({name}:{sample.line})"
        return
    other, first = seen[digest]
    where, found = f"{name}:{sample.line}", f"{sample.image} has the content of {first}"
    if other != name:
        yield Finding("the same photo in two lists", where, found)
    else:
        yield Finding("the same photo twice in one list", where, found, fatal=False)
