"""Training from Python: the command as a function, and nets in other people's loops."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import rlossctl
from rlossctl.errors import NetError, RlossError, UsageError
from rlossctl.solver.reading.files import SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.training import train

LAYERS = """layer { name: "data" type: "Input" top: "data" top: "label"
  input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } shape { dim: 2 dim: 1 dim: 6 dim: 6 } } }
layer { name: "a.b/c" type: "Convolution" bottom: "data" top: "x" param { name: "w" } param { name: "b" }
  convolution_param { num_output: 3 kernel_size: 1 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "name" type: "Convolution" bottom: "x" top: "y" param { name: "w" } param { name: "b" }
  convolution_param { num_output: 3 kernel_size: 1 } }
layer { name: "bn" type: "BatchNorm" bottom: "y" top: "y" }
layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
layer { name: "fc" type: "Convolution" bottom: "y" top: "fc"
  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
"""


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(4, (2, 1, 6, 6), generator=generator).float()
    return {"data": torch.randn(2, 3, 6, 6, generator=generator), "label": label}


@pytest.fixture
def net(build) -> rlossctl.Net:
    torch.manual_seed(3)
    return build(LAYERS)


def stepped(net: torch.nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    """The parameters after one step down."""
    loss.backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    return [blob.detach().clone() for blob in net.parameters()]


def test_the_page_runs(folder: Path, repository: Path) -> None:
    page = (repository / "docs" / "training.md").read_text(encoding="utf-8")
    names: dict = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(block, names)
    run, losses = names["run"], names["Losses"].values
    assert run.iter == len(losses) == 4 and losses[0] != losses[-1]
    assert [line["loss"] for line in names["figures"] if line["kind"] == "train"] == losses
    saved = torch.load("net.pt", weights_only=True)
    assert list(saved) == [
        "conv1.0",
        "conv1.1",
        "frozen.0",
        "fc8.0",
        "fc8.1",
    ]


def test_it_is_what_the_command_does(folder: Path, capsys: pytest.CaptureFixture) -> None:
    text = Path("solver.prototxt").read_text().replace("base_lr: 0.01", "base_lr: ${RATE}")
    Path("solver.prototxt").write_text(text)
    run = rlossctl.train("solver.prototxt", out="a", device="cpu", batch_size=1, RATE=0.02)
    file = SolverOrigin("solver.prototxt", placeholders={"RATE": 0.02}).read()
    other = train(file, options=TrainOptions(out="b", device="cpu", batch_size=1))
    assert run.weights.read_bytes() == other.weights.read_bytes()
    assert run.weights == Path("a/small_iter_10.caffemodel")
    Path("net2.prototxt").write_text(Path("net.prototxt").read_text())
    beside = rlossctl.train("net2.prototxt", "solver.prototxt", out="c", max_iter=1, RATE=1, snapshot=0)
    assert beside.iter == 1
    for weights in (run.weights, str(run.weights), [run.weights]):
        rlossctl.train("solver.prototxt", out="d", weights=weights, overwrite=True, max_iter=1, RATE=1)
    with pytest.raises(RlossError, match=r"absent\.caffemodel"):
        rlossctl.train("solver.prototxt", out="e", weights="absent.caffemodel", RATE=1)


def test_a_setting_that_there_is_not_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="write max_iter"):
        rlossctl.train("solver.prototxt", maxiter=3)
    with pytest.raises(UsageError, match="placeholders are written in upper case"):
        rlossctl.train("solver.prototxt", zebra=3)


def test_parameters_have_their_layers_names(net: rlossctl.Net) -> None:
    names = ["a.b/c.0", "a.b/c.1", "name#2.0", "name#2.1", "bn.0", "bn.1", "bn.2", "fc.0", "fc.1"]
    assert list(net.state_dict()) == names
    tied = dict(net.named_parameters())
    assert list(tied) == [name for name in names if not name.startswith("name#2")]
    assert net.name == "" and net.fc.blobs[1] is tied["fc.1"]


def test_states_go_from_net_to_net_also_under_the_first_names(net: rlossctl.Net, build) -> None:
    state = {key: value + 1 for key, value in net.state_dict().items()}
    numbers = {"a.b/c": 1, "name#2": 2, "bn": 3, "fc": 5}
    old = {}
    for key, value in state.items():
        layer, _, index = key.rpartition(".")
        old[f"modules_in_order.{numbers[layer]}.blobs.{index}"] = value
    for form in (state, old):
        twin = build(LAYERS)
        twin.load_state_dict(form)
        assert all(torch.equal(twin.state_dict()[key], value) for key, value in state.items())
    wrapped = torch.nn.Sequential(build(LAYERS))
    wrapped.load_state_dict({f"0.{key}": value for key, value in old.items()})
    assert all(torch.equal(wrapped.state_dict()[f"0.{key}"], value) for key, value in state.items())
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "fc\.1"'):
        build(LAYERS).load_state_dict({key: value for key, value in state.items() if key != "fc.1"})


def test_under_autocast(net: rlossctl.Net, batch: dict[str, torch.Tensor]) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = net.forward_blobs(**batch)
    assert outputs["fc"].dtype == torch.bfloat16
    assert outputs["loss"].item() == pytest.approx(net(**batch)["loss"].item(), rel=0.05)
    outputs["loss"].sum().backward()
    assert net.fc.blobs[0].grad.isfinite().all() and net.fc.blobs[0].grad.any()


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)  # torch's own
def test_compiled(net: rlossctl.Net, build, batch: dict[str, torch.Tensor]) -> None:
    twin = build(LAYERS)
    twin.load_state_dict(net.state_dict())
    compiled = torch.compile(net, backend="aot_eager")
    one = stepped(net, compiled(**batch)["loss"].sum())
    other = stepped(twin, twin(**batch)["loss"].sum())
    for left, right in zip(one, other, strict=True):
        torch.testing.assert_close(left, right)


def test_with_its_layers_joined(net: rlossctl.Net, build, batch: dict[str, torch.Tensor]) -> None:
    """`compile` joins what lies between data and loss, and leaves names of parameters and checks alone."""
    twin = build(LAYERS)
    twin.load_state_dict(net.state_dict())
    net.compile(backend="aot_eager")
    assert [layer.name for _, layer in net.compiled] == ["data", "a.b/c to fc", "loss"]
    one = stepped(net, net(**batch)["loss"].sum())
    other = stepped(twin, twin(**batch)["loss"].sum())
    for left, right in zip(one, other, strict=True):
        torch.testing.assert_close(left, right)
    assert list(net.state_dict()) == list(twin.state_dict())
    with pytest.raises(NetError, match="label"):
        net(data=batch["data"], label=batch["label"] + 9)


def test_in_distributed_data_parallel(
    net: rlossctl.Net, build, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    twin = build(LAYERS)
    twin.load_state_dict(net.state_dict())
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(net)
        one = stepped(net, wrapped(**batch)["loss"].sum())
    finally:
        torch.distributed.destroy_process_group()
    other = stepped(twin, twin(**batch)["loss"].sum())
    for left, right in zip(one, other, strict=True):
        torch.testing.assert_close(left, right)
