"""Damaged data: pictures, lists, archives and annotations."""

from __future__ import annotations

import contextlib
import zipfile

import pytest
from hypothesis import given

from rlossctl.data.archives import Sources
from rlossctl.data.images import MAX_PIXELS, image_orientation, image_size, read_image, read_label
from rlossctl.data.lists import read_list
from rlossctl.data.weak.annotations import read_clicks, read_scribbles
from rlossctl.data.weak.from_annotations import write_annotations
from rlossctl.errors import DataError

from . import seeds
from .bounds import bounded, fresh, fuzz
from .mutation import damaged_bytes, damaged_zips

PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
# Outside of pytest rlossctl filters pillow's warnings itself (tests/data/test_images.py).
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")
CLASSES = ("background", "cat")


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    """A picture of a million pixels is large here, so that none takes long."""
    monkeypatch.setenv(MAX_PIXELS, "1000000")


@pytest.mark.slow
@fuzz
@given(data=damaged_bytes(seeds.pictures()))
def test_pictures(file, data):
    path = fresh(file, data)
    for read in (image_size, image_orientation, read_image, read_label):
        with bounded(), contextlib.suppress(DataError):
            read(path)


@fuzz
@given(data=damaged_bytes(seeds.LISTS))
def test_lists(file, data):
    path = fresh(file, data)
    for labels in ("path", "integer", "optional"):
        with bounded(), contextlib.suppress(DataError):
            read_list(path, file.parent, labels=labels)


ZIPS = [archive for packing in PACKINGS for archive in seeds.zips(packing)]


@fuzz
@given(data=damaged_bytes(ZIPS) | damaged_zips(ZIPS, PACKINGS))
def test_zips(file, data):
    read_archive(fresh(file.with_suffix(".zip"), data))


@fuzz
@given(data=damaged_bytes(seeds.tars()))
def test_tars(file, data):
    read_archive(fresh(file.with_suffix(".tar"), data))


def read_archive(path):
    """Reads every entry that is there; one damaged entry does not hide the others."""
    entries = []
    with bounded(), contextlib.suppress(DataError), Sources([str(path)]) as opened:
        entries = opened.entries
        for entry in entries:
            with contextlib.suppress(DataError):
                entry.read()
    with bounded(), contextlib.suppress(DataError):
        list(read_scribbles(path, CLASSES))


@fuzz
@given(data=damaged_bytes([seeds.SCRIBBLE, seeds.SCRIBBLE.decode().encode("utf-16")]))
def test_scribbles(file, data):
    path = fresh(file.with_suffix(".xml"), data)
    with bounded(), contextlib.suppress(DataError):
        write_annotations(list(read_scribbles(path, CLASSES)), file.parent / "out")


@fuzz
@given(data=damaged_bytes(seeds.CLICKS))
def test_clicks(file, data):
    path = fresh(file.with_suffix(".json"), data)
    with bounded(), contextlib.suppress(DataError):
        read_clicks([path])
    with bounded(), contextlib.suppress(DataError):
        read_clicks([path], cityscapes=True)
