from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from google.protobuf import text_format

from rlossctl.data.sources.hdf5 import Hdf5Source
from rlossctl.errors import DataError
from rlossctl.prototxt.messages import LayerParameter

h5py = pytest.importorskip("h5py", reason="the extra hdf5 is not installed")
ROWS = (4, 3, 5)


@pytest.fixture
def files(tmp_path):
    """Three files with 12 rows in all; x holds (row, row + 0.5), y the row as a 64-bit integer."""
    first = 0
    for number, rows in enumerate(ROWS):
        row = np.arange(first, first + rows)
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["x"] = np.stack([row, row + 0.5], axis=1)
            file["y"] = row
        first += rows
    (tmp_path / "list.txt").write_text("0.h5\n1.h5 2.h5\n")
    return tmp_path


def source(folder, data="batch_size: 2", tops=("x", "y"), more="", **options):
    text = f'name: "in" type: "HDF5Data" hdf5_data_param {{ source: "{folder}/list.txt" {data} }} {more}'
    text += "".join(f' top: "{top}"' for top in tops)
    message = text_format.Parse(text, LayerParameter())
    return Hdf5Source(message, "TRAIN", **{"root": folder, **options})


def drawn(data, batches):
    return [int(row) for _ in range(batches) for row in data.next_batch()[1]]


def test_row_after_row_over_the_ends_of_files(files):
    data = source(files, "batch_size: 5")
    assert data.shapes() == {"x": (5, 2), "y": (5,)}
    x, y = data.next_batch()
    assert x.dtype == y.dtype == np.float32
    assert y.tolist() == [0, 1, 2, 3, 4] and x.tolist() == [[row, row + 0.5] for row in range(5)]
    assert drawn(data, 3) == [5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7]
    assert list(source(files, tops=("y",)).shapes()) == ["y"]


def test_shuffle_keeps_files_and_rows_together(files):
    data = source(files, "batch_size: 12 shuffle: true", seed=2)
    orders = [drawn(data, 1) for _ in range(6)]
    blocks = [set(range(4)), set(range(4, 7)), set(range(7, 12))]
    seen = set()
    for order in orders:
        assert sorted(order) == list(range(12))
        files_seen = []
        while order:
            block = next(index for index, rows in enumerate(blocks) if order[0] in rows)
            size = len(blocks[block])
            assert set(order[:size]) == blocks[block]
            files_seen.append(block)
            order = order[size:]
        seen.add(tuple(files_seen))
    assert len(seen) > 1 and len({tuple(drawn(data, 1)) for _ in range(4)}) == 4


def test_resume_in_the_middle_of_a_file(files):
    whole = source(files, "batch_size: 5 shuffle: true", seed=7)
    drawn(whole, 4)
    state = json.loads(json.dumps(whole.state()))
    expected = drawn(whole, 6)
    resumed = source(files, "batch_size: 5 shuffle: true")
    drawn(resumed, 1)
    resumed.restore(state)
    assert drawn(resumed, 6) == expected
    (files / "list.txt").write_text("0.h5\n")
    with pytest.raises(DataError, match="another list"):
        source(files).restore(state)


def test_what_is_refused(files):
    with pytest.raises(DataError, match="does not transform data"):
        source(files, more="transform_param { scale: 2 }")
    with pytest.raises(DataError, match="no dataset 'z'") as caught:
        source(files, tops=("x", "z")).shapes()
    assert caught.value.found == "x, y" and "list.txt:1" in caught.value.where
    (files / "list.txt").write_text("0.h5\nnone.h5\n")
    with pytest.raises(DataError, match=r"cannot be opened") as caught:
        source(files).next_batch()
    assert "none.h5" in caught.value.where and "list.txt:2" in caught.value.where
    (files / "list.txt").write_text("\n")
    with pytest.raises(DataError, match="list is empty"):
        source(files).next_batch()
    (files / "list.txt").unlink()
    with pytest.raises(DataError, match="list cannot be read"):
        source(files).next_batch()


def test_files_that_do_not_go_together(files):
    with h5py.File(files / "0.h5", "w") as file:
        file["x"], file["y"] = np.zeros((4, 3)), np.zeros(4)
    with pytest.raises(DataError, match=r"files differ.*\n.*\(3, 2\).*\n.*\(4, 3\)"):
        source(files).next_batch()
    with h5py.File(files / "0.h5", "w") as file:
        file["x"], file["y"] = np.zeros((4, 2)), np.zeros(5)
    with pytest.raises(DataError, match="datasets do not match"):
        source(files).next_batch()


def test_without_the_package(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match="needs the package h5py") as caught:
        source(files).next_batch()
    assert "rlossctl[hdf5]" in caught.value.advice
