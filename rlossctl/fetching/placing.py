"""Bringing fetched files where the prototxts look for them."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from rlossctl.data.sets import registry, telling
from rlossctl.errors import DataError
from rlossctl.fetching.getting import Request
from rlossctl.fetching.items import Item
from rlossctl.fetching.weights import PLACES
from rlossctl.files import atomic_write, make_folder

_SUFFIX = ".caffemodel"


def place_all(items: Sequence[Item], request: Request) -> None:
    """Lays out the data sets of these items, and copies their weights.

    Raises:
        DataError: as the data set's own function, or a damaged archive.
    """
    for name in dict.fromkeys(item.data_set for item in items if item.data_set):
        _lay_out(registry.data_sets()[name], request)
    for item in items:
        if item.download.item in PLACES:
            _place(request.folder / item.download.file, request.out / PLACES[item.download.item], request)


def _lay_out(entry: registry.DataSet, request: Request) -> None:
    """The data set from all of its files that are there; the first one has the photos."""
    files = [request.folder / one.file for one in entry.downloads]
    if not files[0].exists():
        request.say(f"{entry.title} is not laid out: its photos are the item {entry.downloads[0].item}")
        return
    done = registry.prepare(
        entry.name, [str(file) for file in files if file.exists()], request.out / entry.folder
    )
    if warning := telling.differences(entry, done):
        request.say(warning)
    for line in telling.told(entry, done, request.out / entry.folder):
        request.say(line)


def _place(file: Path, folder: Path, request: Request) -> None:
    """Copies a caffemodel, or those in an archive, to a folder; files that are there stay."""
    make_folder(folder)
    for name, content in _models(file).items():
        if not (folder / name).exists():
            with atomic_write(folder / name) as target:
                target.write(content)
        request.say(f"{folder / name}")


def _models(file: Path) -> dict[str, bytes]:
    if file.suffix == _SUFFIX:
        return {file.name: file.read_bytes()}
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(_SUFFIX)]
            return {PurePosixPath(name).name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, OSError, RuntimeError, EOFError) as error:
        raise DataError("the archive cannot be read", where=file, found=str(error)) from error
