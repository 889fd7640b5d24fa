"""Writing caffemodels and solver states: byte for byte what Caffe wrote."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rlossctl.errors import RlossError, WeightsError
from rlossctl.weights import (
    LayerRecord,
    SolverState,
    encode,
    load_caffemodel,
    load_solverstate,
    write_caffemodel,
    write_solverstate,
)


def rewrite(proto, source, target) -> None:
    model = load_caffemodel(source)
    inputs = proto.NetParameter.FromString(model.message_bytes()).input
    records = [(layer.message_bytes(), [blob.array() for blob in layer.blobs]) for layer in model.layers]
    write_caffemodel(target, model.name, records, inputs)


@pytest.mark.parametrize("name", ["rloss_sgd", "bvlc_adam"])
def test_caffes_own_bytes(proto, golden, tmp_path, name):
    source, target = golden / "weights" / f"{name}.caffemodel", tmp_path / "out.caffemodel"
    rewrite(proto, source, target)
    assert target.read_bytes() == source.read_bytes()


def test_caffes_own_bytes_of_shared_models(proto, shared, tmp_path):
    target = tmp_path / "out.caffemodel"
    sources = [*shared.glob("golden/solver/*/*.caffemodel"), *shared.glob("data/segnet_basic/*.caffemodel")]
    for source in sources:
        rewrite(proto, source, target)
        assert target.read_bytes() == source.read_bytes(), source
    assert len(sources) > 15


def test_fields_are_sorted_around_the_blobs_and_diffs_follow_the_data(proto, tmp_path):
    # Unknown field 888 and phase (10) come first here, the name last, as no serializer writes them.
    head = proto.LayerParameter(pixel_shuffle="p").SerializeToString()
    message = head + proto.LayerParameter(phase=1, bottom=["a", "b"]).SerializeToString()
    message += proto.LayerParameter(name="conv").SerializeToString()
    values, grads = np.arange(6.0).reshape(2, 3), np.ones((2, 3))
    write_caffemodel(tmp_path / "a.caffemodel", "net", [LayerRecord(message, [values], [grads])])
    expected = proto.LayerParameter(name="conv", bottom=["a", "b"], phase=1, pixel_shuffle="p")
    expected.blobs.add(data=range(6), diff=[1] * 6).shape.dim.extend([2, 3])
    whole = proto.NetParameter(name="net", layer=[expected])
    assert (tmp_path / "a.caffemodel").read_bytes() == whole.SerializeToString(deterministic=True)


def test_scalar_empty_and_strided_arrays(proto, tmp_path):
    arrays = [np.float32(3), np.zeros((0, 2), np.float32), np.arange(6, dtype=np.float32).reshape(2, 3).T]
    message = proto.LayerParameter(name="x").SerializeToString()
    write_caffemodel(tmp_path / "a.caffemodel", "", [(message, arrays)])
    blobs = load_caffemodel(tmp_path / "a.caffemodel").layers[0].blobs
    for blob, array in zip(blobs, arrays, strict=True):
        np.testing.assert_array_equal(blob.array(), array)
        assert blob.shape == array.shape
    first = proto.NetParameter.FromString((tmp_path / "a.caffemodel").read_bytes()).layer[0].blobs[0]
    assert not first.HasField("shape")


def test_refused_records(proto, tmp_path):
    with_blob = proto.LayerParameter(name="x", blobs=[{"data": [1]}]).SerializeToString()
    plain = proto.LayerParameter(name="x").SerializeToString()
    path = tmp_path / "a.caffemodel"
    for record in [(with_blob, []), (plain, [np.zeros(1)], [np.zeros(1)] * 2), (b"\x0a\x09", [])]:
        with pytest.raises(WeightsError, match=r"a\.caffemodel: layer number 1"):
            write_caffemodel(path, "net", [record])
    assert list(tmp_path.iterdir()) == []


def test_more_than_protobuf_reads_is_refused(proto, tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "MESSAGE_LIMIT", 1000)
    message = proto.LayerParameter(name="x").SerializeToString()
    layers = ((message, [np.zeros(100)]) for _ in range(5))
    with pytest.raises(WeightsError, match=r"layer number 3.*too large"):
        write_caffemodel(tmp_path / "a.caffemodel", "net", layers)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_not_there(tmp_path):
    with pytest.raises(RlossError, match="cannot be written"):
        write_caffemodel(tmp_path / "none" / "a.caffemodel", "net", [])


def check_state(proto, path, tmp_path) -> SolverState:
    state = load_solverstate(path)
    expected = proto.SolverState.FromString(path.read_bytes())
    assert (state.iter, state.learned_net) == (expected.iter, expected.learned_net)
    assert state.current_step == expected.current_step
    assert len(state.history) == len(expected.history)
    for array, blob in zip(state.history, expected.history, strict=True):
        np.testing.assert_array_equal(array.ravel(), np.array(blob.data, np.float32))
        assert not array.flags.writeable
    write_solverstate(tmp_path / "out.solverstate", state)
    assert (tmp_path / "out.solverstate").read_bytes() == path.read_bytes()
    return state


@pytest.mark.parametrize(("name", "count", "step"), [("rloss_sgd", 5, 3), ("bvlc_adam", 10, 1)])
def test_solverstate_is_caffes(proto, golden, tmp_path, name, count, step):
    state = check_state(proto, golden / "weights" / f"{name}.solverstate", tmp_path)
    assert (state.iter, len(state.history), state.current_step) == (13, count, step)
    assert state.history[0].shape == (6, 3, 3, 3)


def test_shared_solverstates(proto, shared, tmp_path):
    paths = list(shared.rglob("*.solverstate"))
    assert len(paths) > 15
    for path in paths:
        check_state(proto, path, tmp_path)
    old = load_solverstate(shared / "data/models/lenet_v1/lenet_iter_10000.solverstate")
    assert old.legacy_shapes and not old.has_current_step and old.history[1].shape == (1, 1, 1, 20)


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_path_that_is_not_utf8_survives(tmp_path, suffix):
    if suffix:
        pytest.importorskip("h5py")
    path = tmp_path / f"a.solverstate{suffix}"
    name = b"snap\xff\xc3\xa9".decode("utf-8", "surrogateescape")
    write_solverstate(path, SolverState(1, name, []))
    assert load_solverstate(path).learned_net == name


def test_changed_state_is_written_as_changed(golden, tmp_path):
    state = load_solverstate(golden / "weights" / "rloss_sgd.solverstate")
    changed = dataclasses.replace(state, iter=20_000, history=[array + 1 for array in state.history])
    write_solverstate(tmp_path / "a.solverstate", changed)
    again = load_solverstate(tmp_path / "a.solverstate")
    assert (again.iter, again.current_step) == (20_000, 3)
    np.testing.assert_array_equal(again.history[1], state.history[1] + 1)
