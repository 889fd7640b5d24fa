"""What is known about a data set, and which data sets there are.

Nothing here or at the top of a data set's file loads NumPy: --help needs the names, and a script that runs
before anything is installed needs the downloads.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.data.classes import Colour
from rlossctl.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from rlossctl.data.sets.laying_out import Prepared

Prepare = Callable[..., "Prepared"]


@dataclass(frozen=True)
class Download:
    """A file that `rlossctl fetch` gets.

    Attributes:
        item: its name there.
        file: its file name.
        addresses: where to get it, in the order to try; none if people have to fetch it by hand.
        sha256: its checksum, or the first digits of it that are published; "" if none is known.
        md5: the same for MD5, where only that is published.
        size: bytes, where they are published; else 0.
        what: a few words on what it holds.
        terms: a page with the licence, where it can be fetched by hand.
        extra: whether it is fetched only by its own name, not by that of its data set.
    """

    item: str
    file: str
    addresses: tuple[str, ...]
    sha256: str = ""
    md5: str = ""
    size: int = 0
    what: str = ""
    terms: str = ""
    extra: bool = False


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
        name: its name in commands.
        title: its name in text.
        classes: the names of the classes, in the order of their ids.
        colours: their colours (red, green, blue), in the same order; none: VOC's colour map.
        ignore_label: the id of the pixels that do not count.
        ignore_label_free: whether the user may choose another one, because label files are rewritten.
        ignore_colour: its colour.
        palette: gives the colours of its own label files, uint8 [256, 3] RGB; None if they have none.
        published: the published number of lines of each list that is prepared.
        ids: a line on how the ids of its files become ids of classes, for the documentation.
        downloads: the files to download, the one with the photos first.
        folder: the folder in which `rlossctl fetch` lays them out.
        help: a line for --help on what is prepared from what.
        placeholders: the prototxts' placeholders once it is prepared in {out}.
        prepare: lays out the user's folders and archives (first argument) in a folder (second), with the
            user's ignore label (third, if it is free), and returns what was laid out; None if there is
            nothing to lay out.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    colours: tuple[Colour, ...] = ()
    ignore_label: int = 255
    ignore_label_free: bool = False
    ignore_colour: Colour = (0, 0, 0)
    palette: Callable[[], np.ndarray] | None = None
    published: Mapping[str, int] = field(default_factory=dict)
    ids: str = "as they are"
    downloads: tuple[Download, ...] = ()
    folder: str = ""
    help: str = ""
    placeholders: str = "DATA_ROOT={out} TRAIN_LIST={out}/train.txt TEST_LIST={out}/val.txt"
    prepare: Prepare | None = None


_KNOWN: dict[str, DataSet] = {}


def register(data_set: DataSet) -> None:
    """Adds a data set that needs no laying out."""
    _KNOWN[data_set.name] = data_set


def data_set(entry: DataSet) -> Callable[[Prepare], Prepare]:
    """Adds a data set. Decorates the function that lays it out."""

    def add(prepare: Prepare) -> Prepare:
        register(replace(entry, prepare=prepare))
        return prepare

    return add


@cache
def data_sets() -> dict[str, DataSet]:
    """All data sets by name, sorted."""
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{__package__}.{module.name}")
    return dict(sorted(_KNOWN.items()))


def prepare(name: str, sources: list[str], out: Path, ignore_label: int | None = None) -> Prepared:
    """Lays out a data set; see the function in its file.

    Args:
        ignore_label: the id for pixels that do not count, instead of the data set's own.

    Raises:
        UsageError: there is nothing to lay out, or the data set's ignore label cannot be changed.
    """
    entry = data_sets()[name]
    label = entry.ignore_label if ignore_label is None else ignore_label
    if label != entry.ignore_label and not entry.ignore_label_free:
        raise UsageError(
            f"the labels of {entry.title} are copied unchanged",
            found=f"--void {label}",
            expected=f"{entry.ignore_label}, their id for pixels that do not count",
            advice="leave out --void",
        )
    if entry.prepare is None:
        raise UsageError(f"there is nothing to prepare for {entry.title}", found=name)
    return entry.prepare(sources, out, label) if entry.ignore_label_free else entry.prepare(sources, out)
