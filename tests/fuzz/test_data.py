"""Damaged data: pictures, lists, databases, windows, archives and annotations."""

from __future__ import annotations

import contextlib
import zipfile

import pytest
from google.protobuf import text_format
from hypothesis import given
from PIL import Image

from rlossctl.data.archives import Sources
from rlossctl.data.images import MAX_PIXELS, image_orientation, image_size, read_image, read_label
from rlossctl.data.lists import read_list
from rlossctl.data.sets.ids import bright, grey_image, matlab
from rlossctl.data.sources.database import DatabaseSource
from rlossctl.data.sources.windows import WindowSource
from rlossctl.data.weak.annotations import read_clicks, read_scribbles
from rlossctl.data.weak.from_annotations import write_annotations
from rlossctl.errors import DataError
from rlossctl.prototxt.messages import LayerParameter

from . import seeds
from .bounds import bounded, fresh, fuzz
from .mutation import damaged_bytes, damaged_text, damaged_zips

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
@given(data=damaged_bytes(seeds.pictures()[:4]))
def test_label_files_of_data_sets(data):
    for read in (grey_image, bright):
        with bounded(), contextlib.suppress(DataError):
            read(data, "label")


MATLAB = seeds.matlab()


@pytest.mark.skipif(not MATLAB, reason="scipy, which reads them, is not installed")
@fuzz
@given(data=damaged_bytes(MATLAB or [b""]))
def test_matlab_files(data):
    for read in (matlab("LabelMap"), matlab("GTcls", "Segmentation")):
        with bounded(), contextlib.suppress(DataError):
            read(data, "label.mat")


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


WINDOW_LAYER = (
    'name: "d" type: "WindowData" top: "data" top: "label" transform_param { crop_size: 8 }'
    ' window_data_param { source: "%s" root_folder: "%s/" batch_size: 4 fg_fraction: 0.25 context_pad: 1 }'
)


@fuzz
@given(text=damaged_text(seeds.WINDOWS))
def test_window_files(file, text):
    Image.new("RGB", (30, 20), "red").save(file.parent / "photo.png")
    path = fresh(file.with_suffix(".txt"), text.encode())
    layer = text_format.Parse(WINDOW_LAYER % (path, file.parent), LayerParameter())
    with bounded(), contextlib.suppress(DataError):
        WindowSource(layer, "TRAIN").next_batch()


DATABASE_LAYER = (
    'name: "d" type: "Data" top: "x" top: "y" data_param { source: "%s" backend: LMDB batch_size: 1 }'
)
DATABASES = seeds.databases()


@pytest.mark.skipif(not DATABASES, reason="lmdb, which writes the database, is not installed")
@fuzz
@given(data=damaged_bytes(DATABASES or [b""]))
def test_databases(file, data):
    path = fresh(file.with_suffix(".mdb"), data)
    layer = text_format.Parse(DATABASE_LAYER % path, LayerParameter())
    with bounded(), contextlib.suppress(DataError):
        source = DatabaseSource(layer, "TEST")
        source.shapes()
        for _ in range(8):
            source.next_batch()


@fuzz
@given(data=damaged_bytes(seeds.CLICKS))
def test_clicks(file, data):
    path = fresh(file.with_suffix(".json"), data)
    with bounded(), contextlib.suppress(DataError):
        read_clicks([path])
    with bounded(), contextlib.suppress(DataError):
        read_clicks([path], cityscapes=True)
