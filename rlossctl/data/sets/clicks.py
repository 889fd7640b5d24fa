"""Published clicks (JSON by image id) as label images of a data set."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path

from rlossctl.data.archives import Sources
from rlossctl.data.sets.laying_out import PHOTOS, Layout, by_stem
from rlossctl.words import counted

FOLDER = "clicks"
WIDTH = 5  # pixels across a dot


def without_json(sources: Sequence[str]) -> tuple[list[str], list[str]]:
    """The sources that are folders or archives, and those that are JSON files."""
    files = [source for source in sources if source.lower().endswith(".json")]
    return [source for source in sources if source not in files], files


def add_clicks(
    layout: Layout, files: Sequence[str], names: Set[str], name: str, count: int, *, cityscapes: bool = False
) -> None:
    """Draws the clicks on photos that are laid out, as dots, and lists them.

    Args:
        names: the photos that may be listed, without suffixes.
        name: of the list, without .txt.
        count: number of classes.
        cityscapes: whether the ids are Cityscapes' own.

    Raises:
        DataError: the files are not such clicks, none has a photo, or as for `copy`.
    """
    from rlossctl.data.weak.annotations import read_clicks
    from rlossctl.data.weak.from_annotations import write_annotations

    clicks = [
        replace(one, name=Path(one.name).name.removesuffix("_leftImg8bit"))
        for one in read_clicks(files, count, cityscapes)
    ]
    photos = layout.out / PHOTOS
    with tempfile.TemporaryDirectory() as drawn:
        listed = [one for one in clicks if one.name in names]
        done = write_annotations(listed, drawn, photos=photos, width=WIDTH)
        with Sources([drawn]) as opened:
            labels = by_stem(opened.entries, Path(drawn).name)
            layout.copy(FOLDER, labels)
    found = {path.stem: path.name for path in photos.iterdir()}
    lines = [f"{PHOTOS}/{found[stem]} {FOLDER}/{stem}.png" for stem in sorted(labels)]
    layout.write_list(f"{name}.txt", lines)
    alone = len(clicks) - len(lines)
    if alone:
        layout.notes.append(f"{name}.txt: {counted(alone, 'clicked image')} left out, not in its photos")
    if done.outside:
        layout.notes.append(
            f"{counted(len(done.outside), 'click')} outside the photo, first {done.outside[0]}"
        )
