"""The loop: passes, displayed loss, tests, snapshots, restoring, and what stops it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import rlossctl
from rlossctl.errors import DataError, RlossError, WeightsError
from rlossctl.solver import Log, Solver
from rlossctl.solver.telling.figures import StepFigures, Term
from rlossctl.solver.telling.listeners import Listener
from rlossctl.solver.telling.monitor import SmoothedLoss, TermShares
from rlossctl.solver.updating.term_gradients import Pulls
from rlossctl.weights import SolverState, load_caffemodel, load_solverstate, write_solverstate

FIELD = """
name: "line" input: "x" input_shape { dim: 1 dim: 2 } input: "t" input_shape { dim: 1 }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "fc" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "t" top: "loss" loss_weight: 0.5 }
"""


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a solver of a two-class linear net; the argument is more SolverParameter text."""
    monkeypatch.chdir(tmp_path)
    Path("line.prototxt").write_text(FIELD)

    def make(text: str = "", log: Log | None = None) -> Solver:
        Path("line_solver.prototxt").write_text(
            f"net: 'line.prototxt' base_lr: 1 lr_policy: 'fixed' snapshot_prefix: 'line' {text}"
        )
        return rlossctl.load_solver("line_solver.prototxt", device="cpu", log=log)

    return make


class Told(Listener):
    """Keeps the figures of every update."""

    def __init__(self) -> None:
        self.figures: list[StepFigures] = []

    def updated(self, figures: StepFigures) -> None:
        self.figures.append(figures)


def told(solver: Solver) -> list[StepFigures]:
    listener = Told()
    solver.listeners.append(listener)
    return listener.figures


def fed(x0: float = 1.0, x1: float = 0.0) -> dict[str, np.ndarray]:
    return {"x": np.array([[x0, x1]], np.float32), "t": np.zeros(1, np.float32)}


def weights(solver: Solver) -> dict[str, torch.Tensor]:
    return {
        f"{layer}/{index}": blob.detach().clone()
        for layer, blobs in solver.net.params.items()
        for index, blob in enumerate(blobs)
    }


def same(first: Solver, second: Solver) -> bool:
    a, b = weights(first), weights(second)
    equal = all(torch.equal(a[name], b[name]) for name in a)
    return equal and all(torch.equal(x, y) for x, y in zip(first.history, second.history, strict=True))


def test_step_makes_updates_and_returns_the_last_outputs(line) -> None:
    solver = line()
    outputs = solver.step(1, fed())
    assert outputs["loss"].item() == pytest.approx(np.log(2))
    assert not outputs["loss"].requires_grad
    # p = 1/2, so the gradient of either weight is -+ 1/2, times the loss weight 0.5, times the rate 1
    assert solver.net.params["fc"][0].flatten().tolist() == pytest.approx([0.25, 0, -0.25, 0])
    assert solver.iter == 1
    assert solver.step(0, fed()) == {}


def test_iter_size_sums_the_gradients_and_divides_them(line) -> None:
    """Both passes see the same input, so two passes give the update of one."""
    one, two = line(), line("iter_size: 2")
    one.step(3, fed(1.0, 2.0))
    two.step(3, fed(1.0, 2.0))
    assert torch.allclose(one.net.params["fc"][0], two.net.params["fc"][0], rtol=1e-6)


def test_iter_size_draws_a_batch_for_every_pass(folder: Path) -> None:
    text = (folder / "solver.prototxt").read_text()
    (folder / "solver.prototxt").write_text(text + "iter_size: 3")
    solver = rlossctl.load_solver("solver.prototxt")
    solver.step(2)
    assert solver.net.sources["data"].state()["position"] == 2 * 3 * 2


def test_displayed_loss() -> None:
    smoothed = SmoothedLoss(3)
    assert [smoothed.add(loss) for loss in (3.0, 5.0, 1.0, 6.0, 2.0)] == pytest.approx([3, 4, 3, 4, 3])
    again = SmoothedLoss(3)
    again.restore(json.loads(json.dumps(smoothed.state())))
    assert again.add(9.0) == smoothed.add(9.0) == pytest.approx(17 / 3)


def test_the_displayed_loss_starts_anew_with_every_step_call(line) -> None:
    lines: list[str] = []
    solver = line("average_loss: 50 display: 1", Log([lines.append]))
    solver.step(3, fed())
    solver.step(1, fed())
    shown = [float(text.split("loss = ")[1]) for text in lines if "] Iteration" in text and "loss" in text]
    raw = [float(text.split("(* 0.5 = ")[1].split()[0]) for text in lines if "Train net output" in text]
    assert shown[1] == pytest.approx((raw[0] + raw[1]) / 2, rel=1e-4)
    assert shown[3] == pytest.approx(raw[3], rel=1e-5)


def test_resume_is_exact(folder: Path) -> None:
    """Ten iterations equal five, new objects, five: weights, history, data order, mirror, crop, dropout."""
    straight = rlossctl.load_solver("solver.prototxt")
    straight.step(10)
    first = rlossctl.load_solver("solver.prototxt")
    first.step(5)
    torch.rand(100)  # what happens between the two runs does not matter
    second = rlossctl.load_solver("solver.prototxt", seed=99, workers=2)
    second.restore("runs/small_iter_5.solverstate")
    assert second.iter == 5
    assert same(first, second)
    second.step(5)
    assert same(straight, second)
    assert second.progress.seed == 3


def test_without_the_resume_file_it_goes_on_as_caffe_does(folder: Path) -> None:
    first = rlossctl.load_solver("solver.prototxt")
    first.step(5)
    Path("runs/small_iter_5.resume.json").unlink()
    lines: list[str] = []
    second = rlossctl.load_solver("solver.prototxt", log=Log([lines.append]))
    second.restore("runs/small_iter_5.solverstate")
    assert same(first, second)
    assert second.net.sources["data"].state()["position"] == 0
    assert any("random state start anew" in text for text in lines)


def test_the_state_finds_its_weights_beside_it(folder: Path) -> None:
    first = rlossctl.load_solver("solver.prototxt")
    first.step(5)
    shutil.move("runs", "moved")
    assert load_solverstate("moved/small_iter_5.solverstate").learned_net == "runs/small_iter_5.caffemodel"
    second = rlossctl.load_solver("solver.prototxt")
    second.restore("moved/small_iter_5.solverstate")
    assert same(first, second)
    Path("moved/small_iter_5.caffemodel").unlink()
    with pytest.raises(WeightsError, match="are not there"):
        second.restore("moved/small_iter_5.solverstate")


def test_a_history_of_another_solver_is_refused(folder: Path) -> None:
    solver = rlossctl.load_solver("solver.prototxt")
    solver.step(1)
    state = load_solverstate(solver.snapshot())
    write_solverstate("short.solverstate", SolverState(1, state.learned_net, state.history[:-1]))
    with pytest.raises(WeightsError, match=r"found: +4 history blobs\n +expected: 5 for type SGD"):
        solver.restore("short.solverstate")
    swapped = [*state.history[1:], state.history[0]]
    write_solverstate("swapped.solverstate", SolverState(1, state.learned_net, swapped))
    with pytest.raises(WeightsError, match=r"history blob 0 does not fit"):
        solver.restore("swapped.solverstate")
    assert solver.iter == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "other"}', '{"format": "rlossctl resume 1"}'])
def test_a_damaged_resume_file_is_named(folder: Path, content: str) -> None:
    solver = rlossctl.load_solver("solver.prototxt")
    state = solver.snapshot()
    Path("runs/small_iter_0.resume.json").write_text(content)
    with pytest.raises(WeightsError, match=r"small_iter_0\.resume\.json"):
        solver.restore(state)


def test_resuming_with_another_list_is_refused(folder: Path) -> None:
    solver = rlossctl.load_solver("solver.prototxt")
    state = solver.snapshot()
    (folder / "list.txt").write_text("/0.png /0_label.png\n")
    with pytest.raises(DataError, match="another list"):
        rlossctl.load_solver("solver.prototxt").restore(state)


def test_nan_stops_before_the_update(line) -> None:
    solver = line("snapshot: 1 snapshot_after_train: false max_iter: 9")
    solver.step(1, fed())
    before = {path.name: path.read_bytes() for path in Path().glob("line_iter_*")}
    kept = weights(solver)
    with pytest.raises(RlossError, match=r"not a finite number in iteration 1\n +found: +loss = nan"):
        solver.step(1, fed(float("nan")))
    assert {path.name: path.read_bytes() for path in Path().glob("line_iter_*")} == before
    assert all(torch.equal(kept[name], value) for name, value in weights(solver).items())


def test_terms_without_a_named_top_go_by_their_layer(line) -> None:
    line()
    Path("line.prototxt").write_text(FIELD.replace('top: "loss" loss_weight: 0.5', ""))
    solver = rlossctl.load_solver("line_solver.prototxt", device="cpu")
    figures = told(solver)
    assert solver.step(1, fed()) == {}
    assert figures[0].terms["loss"].value == pytest.approx(np.log(2))


def test_weights_that_are_not_finite_are_not_saved(line) -> None:
    solver = line()
    solver.step(1, fed())
    before = solver.snapshot().read_bytes()
    solver.net.params["fc"][0].data[0, 1] = float("inf")
    with pytest.raises(RlossError, match=r"layer 'fc', blob 0: weights are not finite"):
        solver.snapshot()
    assert Path("line_iter_1.solverstate").read_bytes() == before


def test_an_older_snapshot_of_that_name_is_replaced_as_a_whole(line, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the new weights are written, no solver state stands beside them."""
    solver = line()
    state = solver.snapshot()
    seen = []

    def write(path: Path, _state: SolverState) -> None:
        seen.append(state.exists())
        raise KeyboardInterrupt

    monkeypatch.setattr("rlossctl.solver.snapshots.snapshot.write_solverstate", write)
    with pytest.raises(KeyboardInterrupt):
        solver.snapshot()
    assert seen == [False]
    assert not state.exists()


def test_snapshot_diff(line) -> None:
    solver = line("snapshot_diff: true momentum: 0.9")
    before = weights(solver)
    solver.step(1, fed())
    model = load_caffemodel(Path(solver.snapshot()).with_suffix(".caffemodel"))
    from rlossctl.prototxt.messages import NetParameter

    param = NetParameter.FromString(model.to_bytes())
    diff = np.array(param.layer[0].blobs[0].diff, np.float32)
    moved = before["fc/0"] - solver.net.params["fc"][0].detach()
    assert diff.tolist() == pytest.approx(moved.flatten().tolist())
    assert diff.any()


def test_test_nets_share_the_weights_and_average_their_outputs(golden: Path, tmp_path: Path) -> None:
    solver = rlossctl.load_solver(
        golden / "solver" / "log" / "solver.prototxt", prefix=str(tmp_path / "snap")
    )
    assert solver.test_nets[0].params["conv1"][0] is solver.net.params["conv1"][0]
    (scores,) = solver.test_all()
    assert list(scores) == ["accuracy", "loss", "loss_aux"]
    assert 0 <= scores["accuracy"][0] <= 1
    solver.step(11)
    assert solver.test_all()[0]["loss"][0] < scores["loss"][0] / 2


def test_splits_and_phases_are_written(golden: Path, tmp_path: Path) -> None:
    """Every layer of the split-expanded net, with phase and default loss weight (Net::ToProto)."""
    from rlossctl.prototxt.messages import NetParameter

    solver = rlossctl.load_solver(
        golden / "solver" / "log" / "solver.prototxt", prefix=str(tmp_path / "snap")
    )
    model = load_caffemodel(solver.snapshot().with_suffix(".caffemodel"))
    layers = NetParameter.FromString(model.message_bytes()).layer
    assert [layer.name for layer in layers] == [
        "data", "t_data_1_split", "conv1", "relu1", "c1_relu1_0_split", "fc", "aux", "loss", "loss_aux"
    ]  # fmt: skip
    assert all(layer.HasField("phase") and layer.phase == 0 for layer in layers)
    assert [list(layer.loss_weight) for layer in layers[-2:]] == [[1.0], [pytest.approx(0.3)]]
    assert {layer.name: len(layer.blobs) for layer in model.layers if layer.blobs} == {
        "conv1": 2, "fc": 2, "aux": 2
    }  # fmt: skip


def test_shared_parameters_are_written_in_every_sharer(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = 'layer { name: "%s" type: "InnerProduct" bottom: "%s" top: "%s" '
    one += 'param { name: "w" } param { name: "b" } '
    one += 'inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }\n'
    head, tail = FIELD.split("layer {", 1)[0], "layer {" + FIELD.split("layer {", 2)[2]
    Path("net.prototxt").write_text(head + one % ("a", "x", "a") + one % ("fc", "a", "fc") + tail)
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 1 lr_policy: "fixed" snapshot_prefix: "s"'
    )
    solver = rlossctl.load_solver("solver.prototxt", device="cpu")
    solver.step(1, fed())
    layers = {
        layer.name: layer.blobs
        for layer in load_caffemodel(solver.snapshot().with_suffix(".caffemodel")).layers
    }
    assert len(solver.history) == 2
    assert np.array_equal(layers["a"][0].array(), layers["fc"][0].array())
    pytest.importorskip("h5py", reason="needs the extra hdf5")
    solver.param.snapshot_format = 0
    model = load_caffemodel(str(solver.snapshot()).replace("solverstate", "caffemodel"))
    assert {layer.name: len(layer.blobs) for layer in model.layers} == {"a": 2, "fc": 0, "loss": 0}


@pytest.mark.parametrize("value", [-3e8, 3e8])  # whatever its sign: most regularizers are positive
def test_a_dominant_regularizer_is_named_once(value) -> None:
    shares = TermShares({"crf"})
    terms = {"loss": Term(0.5, 1.0), "aux": Term(0.5, 0.4), "crf": Term(value, 1e-8)}
    told = [
        shares.add(terms, {"loss": 0.1, "aux": 0.05, "crf": 0.5} if index % 2 else {}) for index in range(30)
    ]
    assert [index for index, text in enumerate(told) if text] == [9]
    assert told[9].startswith("crf pulls much harder than the losses of the labels: 0.5 against 0.15 ")
    for pulls in (
        {"loss": 0.1, "aux": 0.05, "crf": 0.44},
        {"loss": 0.9, "aux": 0.1, "crf": 0.1},
        {"crf": 1.0},
    ):
        quiet = TermShares({"crf"})
        assert not any(quiet.add(terms, pulls) for _ in range(30))
    assert not any(TermShares(()).add(terms, {"loss": 0.1, "aux": 0.9}) for _ in range(30))


REGULARIZED = """
layer { name: "interp" type: "Interp" bottom: "fc8" top: "big" interp_param { height: 9 width: 9 } }
layer { name: "soft" type: "Softmax" bottom: "big" top: "soft" }
layer { name: "crf" type: "DenseCRFLoss" bottom: "data" bottom: "soft" top: "crf" loss_weight: 0.01
  propagate_down: false propagate_down: true densecrf_loss_param { bi_xy_std: 5 bi_rgb_std: 30 } }
"""


def test_pulls_are_measured_where_the_terms_part(folder) -> None:
    with open("net.prototxt", "a") as file:
        file.write(REGULARIZED)
    lines: list[str] = []
    solver = rlossctl.load_solver("solver.prototxt", log=Log([lines.append]))
    figures = told(solver)
    solver.step(3)
    assert (
        sum("Gradients at fc8: loss " in line and ", crf " in line for line in lines) == 2
    )  # display: 2, so iterations 0 and 2
    assert ["crf" in entry.pulls for entry in figures] == [True, False, True]

    data, label = (torch.from_numpy(array) for array in solver.net.sources["data"].next_batch())
    pulls = Pulls(solver.net)
    torch.manual_seed(0)
    with pulls.watching(True):
        result = solver.net.run({"data": data, "label": label}, keep=True)
    strengths = pulls.measure(result.losses)
    for top, (value, weight) in result.losses.items():
        (gradient,) = torch.autograd.grad(weight * value, result.blobs["fc8"], retain_graph=True)
        assert strengths[top] == pytest.approx(gradient.abs().sum().item(), rel=1e-5) and strengths[top] > 0
    assert pulls.measure(result.losses) == {}


def test_pulls_of_a_positive_regularizer_are_printed(folder) -> None:
    with open("net.prototxt", "a") as file:
        file.write(REGULARIZED.replace("DenseCRFLoss", "PottsLoss").partition("densecrf_loss_param")[0] + "}")
    lines: list[str] = []
    solver = rlossctl.load_solver("solver.prototxt", log=Log([lines.append]))
    assert solver.net.regularizers == {"crf"}
    solver.step(1)
    assert any("Gradients at fc8: loss " in line and ", crf " in line for line in lines)


def test_display_does_not_change_the_training(folder) -> None:
    with open("net.prototxt", "a") as file:
        file.write(REGULARIZED)
    weights = []
    for display in (1, 0):
        solver = rlossctl.load_solver("solver.prototxt")
        solver.param.display = display
        solver.step(4)
        weights.append([entry.tensor.clone() for entry in solver.net.learnable])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def test_one_term_has_nothing_to_be_compared_with(folder) -> None:
    solver = rlossctl.load_solver("solver.prototxt")
    assert Pulls(solver.net).blob is None


def test_an_update_alone(line) -> None:
    """`update` makes no test and no snapshot, and gives the figures that the listeners were told."""
    solver = line("snapshot: 1 display: 1 momentum: 0.9")
    heard = told(solver)
    figures = solver.update(fed())
    assert heard == [figures] and solver.iter == 1
    assert (figures.iter, figures.lr, figures.terms) == (
        0,
        1.0,
        {"loss": Term(pytest.approx(np.log(2)), 0.5)},
    )
    assert figures.loss == figures.smoothed_loss == pytest.approx(np.log(2) / 2)
    assert figures.outputs["loss"].item() == figures.shown["loss"][0] == pytest.approx(np.log(2))
    assert not list(Path().glob("line_iter_*"))


SHARED_BLOB = """
layer { name: "w" type: "Parameter" top: "w" param { name: "one" } parameter_param { shape { dim: 1 } } }
layer { name: "w2" type: "Parameter" top: "w2" param { name: "one" } parameter_param { shape { dim: 1 } } }
layer { name: "sum" type: "Reduction" bottom: "w" top: "sum" loss_weight: 1 }
"""


def test_shown_values_are_those_before_the_update(line) -> None:
    """An output may be a learned blob, which the update changes in place."""
    line("display: 1")
    Path("line.prototxt").write_text(FIELD + SHARED_BLOB)
    solver = rlossctl.load_solver("line_solver.prototxt", device="cpu")
    assert solver.update(fed()).shown["w2"] == [0.0]
    assert solver.update(fed()).shown["w2"] == [-1.0]


def test_json_lines_hold_pulls_and_short_outputs(folder: Path) -> None:
    with open("net.prototxt", "a") as file:
        file.write(REGULARIZED)
    log = Log(metrics="metrics.jsonl")
    rlossctl.load_solver("solver.prototxt", log=log).step(2)
    log.close()
    first, second = (json.loads(text) for text in Path("metrics.jsonl").read_text().splitlines())
    assert list(first) == [
        "kind", "iter", "loss", "smoothed_loss", "lr", "terms", "seconds", "outputs"
    ]  # fmt: skip
    assert list(first["terms"]["crf"]) == ["value", "weight", "weighted", "pull"]
    assert list(first["outputs"]) == ["crf", "loss"]
    assert "outputs" not in second and list(second["terms"]["crf"]) == ["value", "weight", "weighted"]
