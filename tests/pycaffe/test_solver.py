"""caffe's solvers: the numbers of `rlossctl train`, what their nets show; after Caffe's test_solver.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rlossctl

NET = """name: "n"
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param { shape { dim: 5 dim: 4 }
  shape { dim: 5 } data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 8
  weight_filler { type: "gaussian" std: 1 } } }
layer { name: "relu" type: "ReLU" bottom: "ip" top: "ip" }
layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" }
layer { name: "score" type: "InnerProduct" bottom: "ip" top: "score" inner_product_param { num_output: 3
  weight_filler { type: "gaussian" std: 1 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
layer { name: "other" type: "Power" bottom: "score" top: "other" power_param { power: 2 } }
layer { name: "penalty" type: "Reduction" bottom: "other" top: "penalty" loss_weight: 0.01 }
layer { name: "acc" type: "Accuracy" bottom: "score" bottom: "label" top: "acc" include { phase: TEST } }
"""
SOLVER = """net: "net.prototxt" test_iter: 2 test_interval: 4 base_lr: 0.05 momentum: 0.9 weight_decay: 0.0005
lr_policy: "inv" gamma: 0.0001 power: 0.75 display: 5 max_iter: 10 snapshot_prefix: "model" iter_size: 2
snapshot_after_train: false random_seed: 3 """


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    Path("solver.prototxt").write_text(SOLVER)
    return tmp_path


def weights(net) -> list[np.ndarray]:
    blobs = [blob for blobs in net.params.values() for blob in blobs]
    return [blob.data if hasattr(blob, "data_ptr") is False else blob.detach().numpy() for blob in blobs]


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "Adam", "AdaDelta", "RMSProp", "AdaGrad"])
def test_the_numbers_are_those_of_training(caffe, folder, kind) -> None:
    text = SOLVER.replace("momentum: 0.9", "momentum: 0") if kind in ("RMSProp", "AdaGrad") else SOLVER
    Path("solver.prototxt").write_text(text)
    Path("ours.prototxt").write_text(f'{text} type: "{kind}"')
    found = getattr(caffe, f"{kind}Solver")("solver.prototxt")
    found.step(5)
    ours = rlossctl.load_solver("ours.prototxt")
    ours.step(5)
    assert found.iter == 5 and found.param.type == kind
    for mine, theirs in zip(weights(found.net), weights(ours.net), strict=True):
        assert np.array_equal(mine, theirs)


def test_the_type_is_the_prototxts_for_get_solver(caffe, folder) -> None:
    Path("solver.prototxt").write_text(SOLVER + 'type: "Adam"')
    assert caffe.get_solver("solver.prototxt").param.type == "Adam"
    with pytest.raises(RuntimeError, match="Could not open"):
        caffe.get_solver("absent.prototxt")


@pytest.mark.parametrize("name", ["adam", "sgd_itersize2_clip"])
def test_a_recorded_training(caffe, golden, monkeypatch, name) -> None:
    """25 steps on inputs that are written into the blobs."""
    monkeypatch.chdir(golden / "solver" / name)
    solver, data = caffe.get_solver("solver.prototxt"), np.load("trajectory.npz")
    params = {key: key.split("/")[1:] for key in data if key.startswith("param/")}
    for key, (layer, index) in params.items():
        solver.net.params[layer][int(index)].data[...] = data[key][0]
    for step in range(25):
        solver.net.blobs["x"].data[...] = data["x"][step]
        solver.net.blobs["t"].data[...] = data["t"][step]
        solver.step(1)
        assert float(solver.net.blobs["loss"].data) == pytest.approx(data["loss"][step], rel=1e-5)
        for key, (layer, index) in params.items():
            expected = data[key][step + 1]
            found = solver.net.params[layer][int(index)].data
            assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_solve_tests_and_snapshots(caffe, folder) -> None:
    solver = caffe.SGDSolver("solver.prototxt")
    assert len(solver.test_nets) == 1 and solver.iter == 0
    solver.solve()
    assert solver.iter == 10 and "acc" in solver.test_nets[0].outputs
    assert np.isfinite(solver.test_nets[0].blobs["loss"].data)
    solver.snapshot()
    assert {file.name for file in folder.glob("model_iter_10.*")} >= {
        "model_iter_10.caffemodel",
        "model_iter_10.solverstate",
    }
    again = caffe.SGDSolver("solver.prototxt")
    again.restore("model_iter_10.solverstate")
    assert again.iter == 10
    for mine, theirs in zip(weights(again.net), weights(solver.net), strict=True):
        assert np.array_equal(mine, theirs)
    resumed = caffe.SGDSolver("solver.prototxt")
    resumed.solve("model_iter_10.solverstate")
    assert resumed.iter == 10


def test_an_update_from_gradients_that_a_script_writes(caffe, folder) -> None:
    solver = caffe.SGDSolver("solver.prototxt")
    blob = solver.net.layers[1].blobs[0]
    view = blob.data
    view[...] = 0
    solver.net.clear_param_diffs()
    blob.diff[...] = 2  # of two passes
    solver.apply_update()
    assert np.allclose(view, -0.05) and solver.iter == 1
    assert np.allclose(blob.diff, 0.05), "afterwards diff is what was subtracted"


def test_diff_is_what_the_update_subtracted(caffe, folder) -> None:
    solver = caffe.SGDSolver("solver.prototxt")
    before = [array.copy() for array in weights(solver.net)]
    solver.step(1)
    diffs = [blob.diff for blobs in solver.net.params.values() for blob in blobs]
    for old, new, diff in zip(before, weights(solver.net), diffs, strict=True):
        assert np.allclose(old - new, diff, atol=1e-6) and diff.any()


def test_blobs_show_the_last_pass_and_its_gradients(caffe, folder) -> None:
    solver = caffe.SGDSolver("solver.prototxt")
    solver.net.blobs["label"].data[...] = [0, 1, 2, 0, 1]
    solver.step(2)
    net = solver.net
    assert net.blobs["label"].data.tolist() == [0, 1, 2, 0, 1], "the script's labels stay"
    scores = net.blobs["score"].data
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    expected = (shares - np.eye(3)[[0, 1, 2, 0, 1]]) / 5 + 0.02 * scores
    assert np.allclose(net.blobs["score"].diff, expected, atol=1e-5)


def test_nets_share_weights_and_outlive_the_solver(caffe, folder) -> None:
    solver = caffe.SGDSolver("solver.prototxt")
    net, test_net = solver.net, solver.test_nets[0]
    test_net.share_with(net)
    other = caffe.Net("net.prototxt", caffe.TEST)
    solver.share_weights(other)
    solver.step(3)
    del solver
    for mine, tested, shared in zip(weights(net), weights(test_net), weights(other), strict=True):
        assert np.array_equal(mine, tested) and np.array_equal(mine, shared)


def test_a_write_into_a_weight_counts_for_all_nets_of_a_solver(caffe, folder, monkeypatch) -> None:
    """Also where arrays and tensors have their own memory, as on a GPU."""
    monkeypatch.setattr("rlossctl.net.storage.one_memory", lambda device: False)
    solver = caffe.SGDSolver("solver.prototxt")
    for blobs in solver.net.params.values():
        for blob in blobs:
            blob.data[...] = 0
    assert solver.test_nets[0].forward()["loss"].item() == pytest.approx(np.log(3), rel=1e-5)
    assert not solver.test_nets[0].params["ip"][0].data.any()


def test_a_training_net_may_use_another_nets_weights(caffe, folder) -> None:
    other, solver = caffe.Net("net.prototxt", caffe.TEST), caffe.SGDSolver("solver.prototxt")
    solver.net.share_with(other)
    before = [array.copy() for array in weights(other)]
    solver.step(1)
    assert not np.array_equal(before[0], weights(other)[0])


def test_callbacks_around_an_update(caffe, folder) -> None:
    solver, calls = caffe.SGDSolver("solver.prototxt"), []
    ip = solver.net.params["ip"][0]
    solver.add_callback(
        lambda: calls.append(("start", solver.iter)),
        lambda: calls.append(("gradients", float(np.abs(ip.diff).sum()) > 0)),
    )
    solver.step(2)
    assert calls == [("start", 0), ("gradients", True), ("start", 1), ("gradients", True)]


def test_the_log_goes_to_stderr_as_caffes_does(caffe, folder, monkeypatch, capfd) -> None:
    monkeypatch.delenv("GLOG_minloglevel")
    caffe.SGDSolver("solver.prototxt").step(1)
    assert "] Iteration 0 (" in capfd.readouterr().err
    caffe.init_log(2)
    caffe.SGDSolver("solver.prototxt").step(1)
    caffe.log("seen?")
    assert not capfd.readouterr().err
    caffe.init_log(0)
    caffe.log("seen")
    assert "] seen" in capfd.readouterr().err


def test_a_seed_makes_solvers_alike(caffe, folder) -> None:
    Path("solver.prototxt").write_text(SOLVER.replace("random_seed: 3", ""))
    found = []
    for _ in range(2):
        caffe.set_random_seed(7)
        solver = caffe.SGDSolver("solver.prototxt")
        solver.step(2)
        found.append(weights(solver.net)[0].copy())
    assert np.array_equal(*found)


def test_a_pass_that_is_watched_shows_its_values_too(caffe, folder, monkeypatch, capfd) -> None:
    """With debug_info the pass is that of any other net; the blobs and the update are the same."""
    plain, found = caffe.SGDSolver("solver.prototxt"), []
    plain.step(1)
    Path("solver.prototxt").write_text(SOLVER + "debug_info: true")
    monkeypatch.delenv("GLOG_minloglevel")
    watched = caffe.SGDSolver("solver.prototxt")
    watched.step(1)
    assert "[Forward] Layer ip, top blob ip data" in capfd.readouterr().err
    for name in ("data", "score", "loss"):
        found.append(np.allclose(plain.net.blobs[name].data, watched.net.blobs[name].data, rtol=1e-5))
    assert all(found)
    assert np.allclose(weights(plain.net)[0], weights(watched.net)[0], rtol=1e-5)
