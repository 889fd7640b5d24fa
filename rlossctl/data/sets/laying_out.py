"""Tools to lay out a data set: find files by folder, copy without overwriting, write lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from rlossctl.data.archives import Entry, Sources
from rlossctl.errors import DataError
from rlossctl.files import atomic_write, make_folder
from rlossctl.progress import track
from rlossctl.words import counted

PHOTOS, MASKS = "JPEGImages", "SegmentationClass"
PICTURES = (".jpg", ".jpeg", ".png")
_SHOWN = 6  # kinds of files in a message

Convert = Callable[[bytes, str], bytes]


@dataclass(frozen=True)
class Prepared:
    """What was laid out: the number of files of each kind, the number of lines in each list, and remarks."""

    files: dict[str, int]
    lists: dict[str, int]
    notes: list[str]


def by_stem(entries: Iterable[Entry], folder: str, suffixes: Sequence[str] = PICTURES) -> dict[str, Entry]:
    """The files in `folder` with these suffixes, by name without suffix; the first file of a name counts."""
    wanted = Path(folder).parts
    found: dict[str, Entry] = {}
    for entry in entries:
        path = entry.path
        if path.parent.parts[-len(wanted) :] != wanted or path.name.startswith("."):
            continue
        if path.suffix.lower() in suffixes:
            found.setdefault(path.stem, entry)
    return found


def by_ending(entries: Iterable[Entry], folder: str, ending: str) -> dict[str, Entry]:
    """The files anywhere below `folder` whose names end so, by the name in front of that.

    The first file of a name counts.
    """
    wanted = f"/{folder}/"
    found: dict[str, Entry] = {}
    for entry in entries:
        name = entry.path.name
        if name.endswith(ending) and not name.startswith(".") and wanted in f"/{entry.path.parent}/":
            found.setdefault(name[: -len(ending)], entry)
    return found


def chosen(entries: Mapping[str, Entry], names: Set[str]) -> dict[str, Entry]:
    """Those with these names, in the order of the entries: going back in a compressed archive is slow."""
    return {stem: entry for stem, entry in entries.items() if stem in names}


def copied(content: bytes, _: str) -> bytes:
    """The content of a file that is not changed."""
    return content


def copy(entries: Mapping[str, Entry], folder: Path, convert: Convert = copied, suffix: str = "") -> None:
    """Writes the files to a folder.

    Args:
        entries: by the name that each gets there, without suffix.
        convert: gets each file's content and place, and returns what to write.
        suffix: that of the new names; "" for each file's own.

    Raises:
        DataError: a file with the same name has other content.
    """
    make_folder(folder)
    for stem, entry in track(entries.items(), len(entries), folder.name):
        _write(folder / f"{stem}{suffix or entry.path.suffix}", convert(entry.read(), entry.where))


def _write(target: Path, content: bytes) -> None:
    """Writes a file unless it exists; a file with other content is never touched."""
    if not target.exists():
        with atomic_write(target, sync=False) as file:
            file.write(content)
    elif target.read_bytes() != content:
        raise DataError(
            "a file with this name already exists and has other content",
            where=target,
            found=f"a file of {target.stat().st_size:,} bytes; {len(content):,} bytes to write",
            expected="the same content, or no such file",
            advice="name another folder with --out, or move the file away",
        )


@dataclass(frozen=True)
class Part:
    """A list of photos with labels.

    Attributes:
        name: of the list, without .txt.
        photos, labels: by a name that a photo and its label share, which the written label gets.
        convert: makes the label to write from a label file.
        folder: that of the written labels.
    """

    name: str
    photos: Mapping[str, Entry]
    labels: Mapping[str, Entry]
    convert: Convert = copied
    folder: str = MASKS


@dataclass
class Layout:
    """Lays out parts in a folder and keeps count.

    Attributes:
        out: the folder.
        opened: the sources, for errors.
        expected: the files that make a photo and its label, for errors.
    """

    out: Path
    opened: Sources
    expected: str
    files: dict[str, set[str]] = field(default_factory=dict)
    lists: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, *parts: Part) -> None:
        """Copies photos, writes labels and lists; photos and labels that are alone are left out, and noted.

        Raises:
            DataError: no part has a photo with its label; as for `copy`.
        """
        pairs = {part.name: sorted(part.photos.keys() & part.labels.keys()) for part in parts}
        if not any(pairs.values()):
            raise missing("photos with labels are", self.opened, self.expected)
        for part in parts:
            if part.photos and part.labels:  # else the sources lack one of them, and there is no list
                self._note_alone(part)
            if pairs[part.name]:
                self._write(part, pairs[part.name])

    def add_photos(self, name: str, photos: Mapping[str, Entry]) -> None:
        """Copies photos without labels and lists them, for `predict`; nothing if there are none."""
        if photos:
            self.copy(PHOTOS, photos)
            self.write_list(
                f"{name}.txt", [f"{PHOTOS}/{stem}{photos[stem].path.suffix}" for stem in sorted(photos)]
            )

    def copy(
        self, folder: str, entries: Mapping[str, Entry], convert: Convert = copied, suffix: str = ""
    ) -> None:
        """Writes the files to a folder below `out`, but none that is written already."""
        written = self.files.setdefault(folder, set())
        new = {stem: entry for stem, entry in entries.items() if stem not in written}
        copy(new, self.out / folder, convert, suffix)
        written.update(new)

    def write_list(self, name: str, lines: Sequence[str]) -> None:
        """Writes a list below `out`; one with other lines is an error, as for `copy`."""
        target = self.out / name
        make_folder(target.parent)
        _write(target, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
        self.lists[name] = len(lines)

    def done(self) -> Prepared:
        """The counts, with a note on each source that none of the files came from."""
        self.notes += [f"nothing was taken from {path}" for path in self.opened.unread()]
        return Prepared({folder: len(names) for folder, names in self.files.items()}, self.lists, self.notes)

    def _write(self, part: Part, stems: list[str]) -> None:
        paired = set(stems)
        self.copy(PHOTOS, chosen(part.photos, paired))
        self.copy(part.folder, chosen(part.labels, paired), part.convert, ".png")
        lines = [f"{PHOTOS}/{stem}{part.photos[stem].path.suffix} {part.folder}/{stem}.png" for stem in stems]
        self.write_list(f"{part.name}.txt", lines)

    def _note_alone(self, part: Part) -> None:
        for kind, other, alone in (
            ("photo", "label", sorted(part.photos.keys() - part.labels.keys())),
            ("label", "photo", sorted(part.labels.keys() - part.photos.keys())),
        ):
            if alone:
                text = f"{counted(len(alone), kind)} without a {other}"
                self.notes.append(f"{part.name}.txt: {text} left out, first {alone[0]}")


def missing(what: str, opened: Sources, expected: str) -> DataError:
    """The error for something that none of the sources holds; `what` ends in "is" or "are"."""
    return DataError(
        f"{what} missing",
        where=", ".join(opened.paths),
        found=_described(opened.entries),
        expected=expected,
        advice="name the archive or folder that holds them",
    )


def _described(entries: Sequence[Entry]) -> str:
    """The commonest kinds of files: `3 files: a/b/*.png (2), c/*.txt (1)`."""
    kinds: Counter[str] = Counter()
    for entry in entries:
        folder = "/".join(entry.path.parent.parts[-2:])
        kinds[f"{folder or '.'}/*{entry.path.suffix}"] += 1
    shown = ", ".join(f"{kind} ({count:,})" for kind, count in kinds.most_common(_SHOWN))
    rest = f" and {counted(len(kinds) - _SHOWN, 'other kind')}" if len(kinds) > _SHOWN else ""
    return f"{counted(len(entries), 'file')}: {shown}{rest}" if entries else "no file at all"
