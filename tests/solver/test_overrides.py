"""Options that stand in place of the prototxts' values, layers that stay, and the average of the weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import rlossctl
from rlossctl.errors import PrototxtError, UsageError, WeightsError
from rlossctl.net import DataOverrides
from rlossctl.solver import Solver
from rlossctl.solver.load import build_solver
from rlossctl.solver.reading.files import SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.training import Trained, train

NORM_NET = """layer { name: "data" type: "Input" top: "x"
  input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" %s }
layer { name: "top" type: "Convolution" bottom: "bn" top: "top" loss_weight: 1
  convolution_param { num_output: 1 kernel_size: 1 weight_filler { type: "gaussian" std: 0.5 } } }
"""


def loaded(**options) -> Solver:
    file = SolverOrigin("solver.prototxt").read()
    return build_solver(file, DataOverrides(), TrainOptions(**{"device": "cpu", **options}))


def trained(out: str, **options) -> Trained:
    file = SolverOrigin("solver.prototxt").read()
    return train(
        file, DataOverrides(), TrainOptions(**{"device": "cpu", "out": out, "quiet": True, **options})
    )


def add(text: str) -> None:
    Path("solver.prototxt").write_text(Path("solver.prototxt").read_text() + text)


def weights(path: str) -> dict[str, list[torch.Tensor]]:
    net = rlossctl.load_net("net.prototxt", path, phase="TRAIN")
    return {name: [blob.detach().clone() for blob in blobs] for name, blobs in net.params.items()}


def test_values_of_options_are_in_the_messages(folder: Path) -> None:
    solver = loaded(lr=0.5, iter_size=2, batch_size=3, crop=5, epochs=4, snapshot=7, freeze=["conv*"])
    param = solver.param
    assert (param.base_lr, param.iter_size, param.snapshot, list(param.freeze)) == (0.5, 2, 7, ["conv*"])
    assert param.max_iter == 5  # 4 epochs of 7 samples, 6 in an update
    assert solver.net.shapes["data"] == (3, 3, 5, 5)
    assert solver.net.param.layer[0].transform_param.crop_size == 5
    assert solver.update().outputs["loss"].numel() == 1


def test_the_manifest_has_what_was_in_force(folder: Path) -> None:
    trained("a", lr=0.25, batch_size=1, max_iter=2)
    trained("b", max_iter=2)
    one, other = (json.loads(Path(name, "run.json").read_text())["settings"] for name in "ab")
    assert "base_lr: 0.25\n" in one["solver"] and "max_iter: 2\n" in one["solver"]
    assert one["nets"]["training"] != other["nets"]["training"]


def test_options_that_change_nothing_are_refused(folder: Path) -> None:
    Path("net.prototxt").write_text(NORM_NET % "")
    for option in ({"batch_size": 2}, {"crop": 3}):
        with pytest.raises(UsageError, match="changes nothing"):
            loaded(**option)
    with pytest.raises(UsageError, match="needs a list of training data"):
        loaded(epochs=2)
    with pytest.raises(UsageError, match="exclude each other"):
        TrainOptions(epochs=2, max_iter=3)


# Layers that stay


def test_a_frozen_layer_does_not_change(folder: Path) -> None:
    add('freeze: "c*1"')
    solver = loaded()
    before = [blob.detach().clone() for blob in solver.net.params["conv1"]]
    moved = solver.net.params["fc8"][0].detach().clone()
    solver.step(2)
    assert all(torch.equal(one, other) for one, other in zip(before, solver.net.params["conv1"], strict=True))
    assert not torch.equal(moved, solver.net.params["fc8"][0])
    assert solver.net.params["conv1"][0].grad is None


def test_a_pattern_without_a_layer_names_those_there_are(folder: Path) -> None:
    with pytest.raises(PrototxtError, match="conv1, frozen, fc8") as caught:
        loaded(freeze=["conv9*"])
    assert str(caught.value).startswith("solver.prototxt: freeze names no layer")


@pytest.mark.parametrize("fields", ["", "batch_norm_param { scale_bias: true }"])
@pytest.mark.parametrize("field", ["freeze_batch_norm: true", "freeze: 'bn'"])
def test_frozen_statistics_are_used_and_stay(folder: Path, fields: str, field: str) -> None:
    Path("net.prototxt").write_text(NORM_NET % fields)
    x = torch.randn(2, 3, 4, 5)
    moving = loaded()
    add(field)
    held = loaded()
    for solver in (moving, held):
        blobs = solver.net.params["bn"]
        with torch.no_grad():
            for blob, value in zip(blobs, (0.5, 4, 1), strict=False):
                blob.fill_(value)
        solver.step(1, {"x": x})
    assert not torch.equal(moving.net.params["bn"][0], torch.full((2,), 0.5))
    assert torch.equal(held.net.params["bn"][0], torch.full((2,), 0.5))
    blobs = held.net.forward_blobs(x=x)
    wanted = (blobs["conv"] - 0.5) / (4 + 1e-5) ** 0.5
    if fields:
        scale, shift = (blob.reshape(2, 1, 1) for blob in held.net.params["bn"][3:])
        wanted = wanted * scale + shift
        assert torch.equal(scale.flatten(), torch.ones(2)) == (field == "freeze: 'bn'")  # else it learns
    torch.testing.assert_close(blobs["bn"], wanted)


# The average of the weights


def test_the_average_is_torchs(folder: Path) -> None:
    add("ema_decay: 0.75")
    solver = loaded()
    reference = [blob.detach().clone() for blob in solver.net.params["conv1"]]
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.75)
    for _ in range(4):
        solver.step(1)
        average(reference, [blob.detach() for blob in solver.net.params["conv1"]], None)
    for one, other in zip(solver.average.blobs()["conv1"], reference, strict=True):
        torch.testing.assert_close(one, other)


def test_tests_use_the_average_and_training_does_not(folder: Path) -> None:
    plain = trained("plain", max_iter=4)
    text = Path("net.prototxt").read_text().replace("shuffle: true", "")
    Path("test.prototxt").write_text(text)
    add('test_net: "test.prototxt" test_iter: 2 test_interval: 2 ema_decay: 0.9')
    run = trained("a", max_iter=4)
    assert weights(run.snapshot.with_suffix(".caffemodel"))["fc8"][0].equal(
        weights(plain.snapshot.with_suffix(".caffemodel"))["fc8"][0]
    )
    tests = [
        entry for entry in map(json.loads, run.metrics.read_text().splitlines()) if entry["kind"] == "test"
    ]
    solver = loaded(max_iter=4)
    solver.restore(run.snapshot)
    for net in solver.test_nets:  # as they stood before the last test
        for source in net.sources.values():
            source.restore({**source.state(), "position": source.batch_size * 4})
    solver.net.copy_from("a/small_iter_4.ema.caffemodel")
    outputs = [solver.test_nets[0].run(None).outputs["loss"].item() for _ in range(2)]
    assert tests[-1]["iter"] == 4 and tests[-1]["outputs"]["loss"] == pytest.approx([sum(outputs) / 2])


def test_a_snapshot_asked_for_in_a_test_has_the_weights_that_train(folder: Path) -> None:
    add("ema_decay: 0.9")
    solver = loaded()
    solver.step(3)
    wanted = solver.net.params["fc8"][0].detach().clone()
    with solver.average.shown():
        assert not torch.equal(solver.net.params["fc8"][0], wanted)
        state = solver.snapshot()
    assert torch.equal(solver.net.params["fc8"][0], wanted)
    assert torch.equal(weights(state.with_suffix(".caffemodel"))["fc8"][0], wanted)


@pytest.mark.parametrize(
    "fields",
    [
        "ema_decay: 0.9 snapshot_format: HDF5",
        "ema_decay: 0.9 type: 'AdamW' delta: 1e-6 lr_policy: 'onecycle'",
        "lr_policy: 'cosine' warmup_iter: 7 warmup_ratio: 0.1 lr_ahead: 1 freeze: 'conv1'",
    ],
)
def test_a_resumed_run_is_the_same_run(folder: Path, fields: str) -> None:
    text = Path("solver.prototxt").read_text()
    if "lr_policy" in fields:
        text = text.replace('lr_policy: "poly" power: 0.9', "")
    Path("solver.prototxt").write_text(f"{text} {fields}")
    if "HDF5" in fields:
        pytest.importorskip("h5py")
    whole = loaded()
    whole.step(6)
    half = loaded()
    half.step(3)
    half.saving.prefix = "half/small"
    state = half.snapshot()
    resumed = loaded(seed=99)
    resumed.restore(state)
    resumed.step(3)
    for one, other in zip(whole.net.learnable, resumed.net.learnable, strict=True):
        assert torch.equal(one.tensor, other.tensor)
    if "ema_decay" in fields:
        for one, other in zip(whole.average.blobs().values(), resumed.average.blobs().values(), strict=True):
            assert all(map(torch.equal, one, other))


def test_the_average_belongs_to_its_snapshot(folder: Path) -> None:
    add("ema_decay: 0.9")
    state = trained("a", keep=1).snapshot
    assert sorted(path.name for path in Path("a").glob("*.ema.*")) == ["small_iter_10.ema.caffemodel"]
    average = Path("a/small_iter_10.ema.caffemodel")
    average.write_bytes(average.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match=r"small_iter_10\.ema\.caffemodel"):
        loaded().restore(state)
    average.unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        loaded().restore(state)
    trained("a", overwrite=True, max_iter=1)
    assert not average.exists()
