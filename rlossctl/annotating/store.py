"""The strokes as files: what was drawn as JSON, label images, and a list; each complete or not there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

import numpy as np

from rlossctl.annotating.album import Album
from rlossctl.annotating.recent import Recent
from rlossctl.data.images import read_label
from rlossctl.data.lists import write_lines
from rlossctl.data.palette import save_label_png
from rlossctl.data.weak.annotations import Stroke
from rlossctl.data.weak.clicks import read_clicks, read_strokes, stroke_to_json
from rlossctl.data.weak.folders import Mask, label_list
from rlossctl.data.weak.from_annotations import draw_stroke
from rlossctl.data.weak.scribble import UNLABELLED
from rlossctl.errors import DataError, RlossError, UsageError
from rlossctl.files import atomic_write, make_folder
from rlossctl.progress import track

FOLDER, CLASSES = "strokes", "classes.txt"  # below the labels' folder
_KEPT_LABELS = 4
_POINT = 1  # pixels of a stroke without a width


@dataclass(frozen=True)
class Places:
    """Where labels go: their folder, the list's file, and the root of the list's names."""

    out: Path
    list_file: Path
    root: str = ""


class Saved(NamedTuple):
    """What is on disk for a photo.

    Attributes:
        revision: changes whenever the strokes do; "" if there is no file.
        strokes: as JSON.
        counts: int64 [256], labelled pixels by class.
    """

    revision: str
    strokes: list[dict[str, Any]]
    counts: np.ndarray


class Outdated(RlossError):
    """The strokes on disk are not those that a change was made from; `saved` has them."""

    def __init__(self, saved: Saved, name: str) -> None:
        self.saved = saved
        super().__init__("was changed elsewhere", where=name)


class _Label(NamedTuple):
    strokes: list[dict[str, Any]]
    ids: np.ndarray


class Store:
    """The labels of an album. strokes/NAME.json is what counts; NAME.png and the list follow from it.

    A process that is killed between these files leaves a label image that is older than its strokes. The next
    one draws it again.

    Raises:
        UsageError: the folder has other classes.
        DataError: a label image in the folder was not drawn here, or the strokes cannot be read.
        RlossError: the folder cannot be written.
    """

    def __init__(self, places: Places, album: Album, classes: Sequence[str]) -> None:
        self.places, self.album, self.classes = places, album, tuple(classes)
        self._lock = RLock()
        self._labels: Recent[_Label] = Recent(_KEPT_LABELS)
        self._folder = make_folder(make_folder(places.out) / FOLDER)
        self._counts: dict[str, np.ndarray] = {}
        self._check_list()
        self._claim_classes()
        names = [name for name in album.entries if self._check_own(name)]
        for name in track(names, len(names), "labels"):
            self._restore(name)
        self._write_list()

    def read(self, name: str) -> Saved:
        """What is on disk for a photo."""
        with self._lock:
            path = self._strokes_file(name)
            if not path.is_file():
                return Saved("", [], np.zeros(256, np.int64))
            strokes = [stroke_to_json(stroke) for stroke in self._parse(name)]
            return Saved(_revision(path.read_bytes()), strokes, self._counts.get(name, np.zeros(256, int)))

    def save(self, name: str, base: str, strokes: Any) -> Saved:
        """Replaces the strokes of a photo.

        Args:
            base: the revision that the change was made from.
            strokes: JSON as in the file.

        Raises:
            Outdated: there is another revision on disk.
            DataError: these are not strokes of these classes.
            RlossError: a file cannot be written.
        """
        parsed = read_strokes(strokes, f"strokes of {name}", len(self.classes))
        with self._lock:
            known = self.read(name)
            if known.revision != base:
                raise Outdated(known, name)
            entries = [stroke_to_json(stroke) for stroke in parsed]
            content = _text(name, entries)
            with atomic_write(self._strokes_file(name)) as file:
                file.write(content)
            listed = name in self._counts
            self._write_label(name, entries, parsed)
            if listed != (name in self._counts):
                self._write_list()
            return Saved(_revision(content), entries, self._counts.get(name, np.zeros(256, int)))

    def label(self, name: str) -> np.ndarray:
        """The label that the strokes give, uint8 [H, W], 255 unlabelled."""
        with self._lock:
            return self._drawn(name, *self._both(name))

    def counts(self) -> dict[str, np.ndarray]:
        """Photo -> labelled pixels by class, int64 [256]; photos without strokes are left out."""
        with self._lock:
            return dict(self._counts)

    def coverage(self) -> float:
        """The mean share of labelled pixels of the photos with strokes, 0..1."""
        shares = [
            counts[:UNLABELLED].sum() / np.prod(self.album.entries[name].size)
            for name, counts in self.counts().items()
        ]
        return float(np.mean(shares)) if shares else 0.0

    def _strokes_file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _label_file(self, name: str) -> Path:
        return self.places.out / f"{name}.png"

    def _parse(self, name: str) -> list[Stroke]:
        found = read_clicks([self._strokes_file(name)], len(self.classes))
        return next((one.strokes for one in found if one.name == name), [])

    def _both(self, name: str) -> tuple[list[dict[str, Any]], list[Stroke]]:
        parsed = self._parse(name) if self._strokes_file(name).is_file() else []
        return [stroke_to_json(stroke) for stroke in parsed], parsed

    def _drawn(self, name: str, entries: list[dict[str, Any]], strokes: Sequence[Stroke]) -> np.ndarray:
        """Draws only what is new, if the strokes go on where those drawn last end."""
        empty = _Label([], np.full(self.album.entries[name].size, UNLABELLED, np.uint8))
        last = self._labels.get(name, lambda: empty)
        done = last if entries[: len(last.strokes)] == last.strokes else empty
        ids = done.ids.copy()
        for stroke in strokes[len(done.strokes) :]:
            draw_stroke(ids, stroke, _POINT)
        self._labels.put(name, _Label(entries, ids))
        return ids

    def _write_label(self, name: str, entries: list[dict[str, Any]], strokes: Sequence[Stroke]) -> None:
        ids = self._drawn(name, entries, strokes)
        counts = np.bincount(ids.ravel(), minlength=256)
        counts[UNLABELLED] = 0
        if counts.any():
            save_label_png(self._label_file(name), ids, palette=False)
            self._counts[name] = counts
        else:
            self._label_file(name).unlink(missing_ok=True)
            self._counts.pop(name, None)

    def _restore(self, name: str) -> None:
        label, strokes = self._label_file(name), self._strokes_file(name)
        entries, parsed = self._both(name)
        if not label.is_file() or label.stat().st_mtime_ns < strokes.stat().st_mtime_ns:
            self._write_label(name, entries, parsed)
            return
        counts = np.bincount(read_label(label).ravel(), minlength=256)
        counts[UNLABELLED] = 0
        self._counts[name] = counts

    def _lines(self, names: Sequence[str]) -> list[str]:
        masks = [Mask(self._label_file(name), str(self.album.entries[name].path), None) for name in names]
        return label_list(masks, self.places.out, self.places.root)[0]

    def root_folder(self) -> str:
        """The root_folder that the list needs."""
        first = next(iter(self.album.entries))
        mask = Mask(self._label_file(first), str(self.album.entries[first].path), None)
        return label_list([mask], self.places.out, self.places.root)[1]

    def _write_list(self) -> None:
        write_lines(
            self.places.list_file, self._lines([name for name in self.album.entries if name in self._counts])
        )

    def _check_list(self) -> None:
        """Refuses now what could not be listed later, and labels that would replace photos."""
        self._lines(list(self.album.entries))
        for name, entry in self.album.entries.items():
            if self._label_file(name).exists() and self._label_file(name).samefile(entry.path):
                raise UsageError(
                    "a label would overwrite its photo",
                    where=entry.path,
                    expected="a separate folder for the labels",
                    advice="name a new folder with --out",
                )

    def _check_own(self, name: str) -> bool:
        """Whether there are strokes; refuses a label image without them."""
        drawn = self._strokes_file(name).is_file()
        if not drawn and self._label_file(name).exists():
            raise DataError(
                "this label image was not drawn here",
                where=self._label_file(name),
                found=f"no {self._strokes_file(name)}",
                expected="a new folder, or one that this command has written",
                advice="name another folder with --out",
            )
        return drawn

    def _claim_classes(self) -> None:
        path = self.places.out / CLASSES
        known = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        if list(self.classes[: len(known)]) != known:
            raise UsageError(
                "these labels have other classes",
                where=path,
                found=", ".join(self.classes[:6]),
                expected=", ".join(known[:6]),
                advice=f"give --classes {path}, or name another folder with --out",
            )
        with atomic_write(path) as file:
            file.write("".join(f"{name}\n" for name in self.classes).encode())


def _text(name: str, entries: Sequence[dict[str, Any]]) -> bytes:
    """The JSON file of one photo, a stroke a line."""
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    return f"{{{json.dumps(name)}: [\n{lines}\n]}}\n".encode()


def _revision(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
