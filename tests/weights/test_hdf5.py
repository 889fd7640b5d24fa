"""HDF5 weights and states, against Caffe's recordings and h5py itself."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from rlossctl.errors import WeightsError
from rlossctl.weights import (
    SolverState,
    load_caffemodel,
    load_solverstate,
    write_caffemodel_h5,
    write_solverstate,
)


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py")


def contents(h5py, path) -> dict:
    found = {}

    def visit(name, item):
        found[name] = None if isinstance(item, h5py.Group) else (item.shape, item.dtype, item[()].tolist())

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def test_model_written_by_caffe(h5py, golden, tmp_path):
    path = golden / "weights" / "rloss_sgd.caffemodel.h5"
    model = load_caffemodel(path)
    assert model.format == "hdf5" and model.path == str(path) and model.name == ""
    shapes = {layer.name: [blob.shape for blob in layer.blobs] for layer in model.layers}
    assert shapes == {
        "conv1": [(6, 3, 3, 3), (6,)],
        "fc8": [(5, 6, 1, 1), (5,)],
        "frozen": [(6, 6, 1, 1)],
        "loss": [],
        "pool1": [],
        "relu1": [],
    }
    blob = model.layers[0].blobs[0]
    assert blob.fits((6, 3, 3, 3)) and not blob.array().flags.writeable
    with h5py.File(path) as file:
        np.testing.assert_array_equal(blob.array(), file["data/conv1/0"][()], strict=True)
    out = tmp_path / "out.caffemodel.h5"
    layers = [(layer.name, dict(enumerate(b.array() for b in layer.blobs))) for layer in model.layers]
    write_caffemodel_h5(out, layers)
    assert contents(h5py, out) == contents(h5py, path)


def test_state_written_by_caffe(h5py, golden, tmp_path):
    path = golden / "weights" / "rloss_sgd.solverstate.h5"
    state = load_solverstate(path)
    assert (state.iter, state.learned_net, state.current_step) == (13, "snap_iter_13.caffemodel.h5", 0)
    assert [array.shape for array in state.history] == [(6, 3, 3, 3), (6,), (6, 6, 1, 1), (5, 6, 1, 1), (5,)]
    write_solverstate(tmp_path / "out.solverstate.h5", state)
    assert contents(h5py, tmp_path / "out.solverstate.h5") == contents(h5py, path)


def test_history_keeps_its_order_beyond_ten(h5py, tmp_path):
    path = tmp_path / "a.solverstate.h5"
    write_solverstate(path, SolverState(1, "x", [np.full(2, value) for value in range(23)], 4))
    assert [array[0] for array in load_solverstate(path).history] == list(range(23))


def test_diffs_slashes_and_shared_blobs(h5py, tmp_path):
    path = tmp_path / "a.caffemodel.h5"
    one, two = np.ones(3, np.float32), np.full((2, 2), 2, np.float32)
    write_caffemodel_h5(path, [("inc/1x1", {0: one}, {0: two}), ("shared", {1: two}, {}), ("none", {}, {})])
    layers = {layer.name: layer.blobs for layer in load_caffemodel(path).layers}
    assert set(layers) == {"inc/1x1", "shared", "none"}
    np.testing.assert_array_equal(layers["inc/1x1"][0].array(), one, strict=True)
    assert layers["shared"][0] is None and layers["shared"][1].shape == (2, 2) and layers["none"] == []
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["diff/inc/1x1/0"][()], two)


def test_missing_h5py_names_the_extra(golden, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    for read, name in ((load_caffemodel, "caffemodel"), (load_solverstate, "solverstate")):
        with pytest.raises(WeightsError, match=r"pip install rlossctl\[hdf5\]"):
            read(golden / "weights" / f"rloss_sgd.{name}.h5")
    with pytest.raises(WeightsError, match=r"pip install rlossctl\[hdf5\]"):
        write_solverstate(tmp_path / "a.h5", SolverState(1, "x", []))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read", [load_caffemodel, load_solverstate])
def test_damaged_file(h5py, golden, tmp_path, read):
    path = tmp_path / "a.h5"
    path.write_bytes((golden / "weights" / "rloss_sgd.caffemodel.h5").read_bytes()[:3000])
    with pytest.raises(WeightsError, match="the HDF5 file is damaged"):
        read(path)


def test_files_of_other_make(h5py, golden, tmp_path):
    with pytest.raises(WeightsError, match="does not hold a solver state"):
        load_solverstate(golden / "weights" / "rloss_sgd.caffemodel.h5")
    with pytest.raises(WeightsError, match="does not hold a Caffe model"):
        load_caffemodel(golden / "weights" / "rloss_sgd.solverstate.h5")
    cases = [
        ("data/conv/kernel", np.zeros(2), "a dataset is not a blob"),
        ("data/conv/0", np.zeros(2, int), "a dataset is not a blob"),
        ("data/conv/5000", np.zeros(2), "too many blobs"),
    ]
    for name, values, message in cases:
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            file[name] = values
        with pytest.raises(WeightsError, match=message):
            load_caffemodel(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("iter", np.zeros(0, int), "iter is missing or has the wrong type"),
        ("current_step", np.zeros(1), "current_step is missing"),
        ("learned_net", 3, "learned_net is missing"),
        ("history/7", np.zeros(1), "the history has a gap"),
    ],
)
def test_damaged_state(h5py, tmp_path, name, value, message):
    path = tmp_path / "a.h5"
    write_solverstate(path, SolverState(1, "x", [np.zeros(1)]))
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        file[name] = value
    with pytest.raises(WeightsError, match=message):
        load_solverstate(path)
