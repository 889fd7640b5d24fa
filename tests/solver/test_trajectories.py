"""25 steps of every recorded solver, from the start and from Caffe's own snapshot after step 13."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import rlossctl
from rlossctl.solver import Solver

KEPT = ("adam", "sgd_hdf5", "sgd_itersize2_clip")
SHARED = (
    "adadelta", "adagrad", "bvlc_adam_default", "bvlc_adam_itersize_clip", "bvlc_rmsprop_default",
    "bvlc_sgd_sigmoid_pos", "bvlc_solver_type_enum", "bvlc_weights_comma", "bvlc_weights_one",
    "bvlc_weights_repeated", "nesterov", "rmsprop", "sgd_exp", "sgd_fixed_l1_clip", "sgd_inv",
    "sgd_multistep", "sgd_poly", "sgd_sigmoid", "sgd_step",
)  # fmt: skip


class Case:
    """One recorded folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with np.load(folder / "trajectory.npz") as file:
            self.data = {name: file[name] for name in file.files}
        self.params = [name for name in self.data if name.startswith("param/")]
        (self.state,) = folder.glob("snap_iter_13.solverstate*")

    def solver(self) -> Solver:
        return rlossctl.load_solver(self.folder / "solver.prototxt", device="cpu")

    def set_weights(self, solver: Solver, step: int) -> None:
        for name in self.params:
            _, layer, index = name.split("/")
            with torch.no_grad():
                solver.net.params[layer][int(index)].copy_(torch.from_numpy(self.data[name][step]))

    def check_steps(self, solver: Solver, first: int) -> None:
        for step in range(first, 25):
            outputs = solver.step(1, {"x": self.data["x"][step], "t": self.data["t"][step]})
            assert outputs["loss"].item() == pytest.approx(self.data["loss"][step], rel=1e-5)
            for name in self.params:
                _, layer, index = name.split("/")
                expected = self.data[name][step + 1]
                found = solver.net.params[layer][int(index)].detach().numpy()
                assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max(), f"{name}, step {step}"
        assert solver.iter == 25


@pytest.fixture(params=[*KEPT, *SHARED])
def case(request: pytest.FixtureRequest, golden: Path) -> Case:
    name = request.param
    root = golden if name in KEPT else request.getfixturevalue("shared") / "golden"
    if name == "sgd_hdf5":
        pytest.importorskip("h5py", reason="needs the extra hdf5")
    return Case(root / "solver" / name)


def test_from_the_start(case: Case) -> None:
    solver = case.solver()
    case.set_weights(solver, 0)
    case.check_steps(solver, 0)


def test_from_caffes_snapshot(case: Case) -> None:
    solver = case.solver()
    solver.restore(case.state)
    assert solver.iter == 13
    case.check_steps(solver, 13)


def test_snapshot_gives_back_caffes_bytes(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rloss fork's files byte for byte; BVLC adds an Input layer, HDF5's bytes are the library's."""
    solver = case.solver()
    solver.restore(case.state)
    solver.saving.prefix = "snap"
    monkeypatch.chdir(tmp_path)
    state = solver.snapshot()
    assert state.name == case.state.name
    if case.state.suffix == ".h5":
        return
    assert state.read_bytes() == case.state.read_bytes()
    if not case.folder.name.startswith("bvlc_"):
        model = "snap_iter_13.caffemodel"
        assert Path(model).read_bytes() == (case.folder / model).read_bytes()


def test_hdf5_snapshot_goes_on_like_caffes(golden: Path, tmp_path: Path) -> None:
    pytest.importorskip("h5py", reason="needs the extra hdf5")
    case = Case(golden / "solver" / "sgd_hdf5")
    first = case.solver()
    first.restore(case.state)
    first.saving.prefix = str(tmp_path / "snap")
    again = case.solver()
    again.restore(first.snapshot())
    assert first.snapshot().name == "snap_iter_13.solverstate.h5"
    case.check_steps(again, 13)


@pytest.mark.parametrize("name", ["bvlc_weights_one", "bvlc_weights_comma", "bvlc_weights_repeated"])
def test_the_solvers_own_weights(shared: Path, name: str) -> None:
    case = Case(shared / "golden" / "solver" / name)
    params = case.solver().net.params
    assert np.array_equal(params["conv1"][0].detach(), case.data["param/conv1/0"][0])
    assert np.array_equal(params["fc8"][1].detach(), case.data["param/fc8/1"][0])
