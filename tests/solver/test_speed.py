"""What makes a training faster changes nothing else: memory format, batches drawn ahead, replayed passes."""

from __future__ import annotations

from functools import partialmethod
from pathlib import Path

import pytest
import torch

import rlossctl
from rlossctl.errors import DataError, NetError, UsageError
from rlossctl.net import Net
from rlossctl.net.net import Result
from rlossctl.postponed import Doubt
from rlossctl.solver import passes
from rlossctl.solver.machine.feed import DeviceFeed, may_be_drawn_ahead
from rlossctl.solver.machine.graphs import PassGraph, stacked
from rlossctl.solver.machine.speed import Speed, described
from rlossctl.solver.passes import fed_ahead

pytestmark = pytest.mark.usefixtures("folder")


def make(**options: object) -> rlossctl.Solver:
    return rlossctl.load_solver("solver.prototxt", device="cpu", **options)


def losses(run: rlossctl.Solver, count: int) -> list[float]:
    """Of so many updates, with draws that begin anew."""
    torch.manual_seed(0)
    return [run.update().loss for _ in range(count)]


def test_channels_last_gives_the_same_values() -> None:
    text = Path("net.prototxt").read_text()
    Path("net.prototxt").write_text(text.replace('type: "Dropout"', 'type: "ReLU"'))  # draws in memory order
    first, last = (make(speed=Speed(channels_last=choice)) for choice in (False, True))
    assert last.net.params["conv1"][0].is_contiguous(memory_format=torch.channels_last)
    assert losses(last, 4) == pytest.approx(losses(first, 4), rel=1e-5)
    assert "channels last" in described(last.net, last.speed)


def test_a_snapshot_with_channels_last_goes_on_in_either_format() -> None:
    last = make(speed=Speed(channels_last=True))
    last.step(2)
    state = last.snapshot()
    first = make()
    first.restore(state)
    for one, two in zip(first.net.learnable, last.net.learnable, strict=True):
        assert one.tensor.equal(two.tensor)
    for one, two in zip(first.history, last.history, strict=True):
        assert one.equal(two)


def test_cuda_graphs_need_a_gpu() -> None:
    with pytest.raises(UsageError, match="CUDA graphs need a GPU"):
        make(speed=Speed(cuda_graphs=True))


def test_batches_drawn_ahead_are_those_of_the_source() -> None:
    plain, ahead = make(), make()
    fed_ahead(ahead.net)
    ahead._passes._feeds = [source for source in ahead.net.sources.values() if isinstance(source, DeviceFeed)]
    assert len(ahead._passes._feeds) == 1
    assert losses(plain, 5) == losses(ahead, 5)
    assert plain.net.sources["data"].state() == ahead.net.sources["data"].state()
    state = ahead.snapshot()
    more = [ahead.update().loss for _ in range(3)]
    ahead.restore(state)
    assert [ahead.update().loss for _ in range(3)] == more
    plain.restore(state)
    assert [plain.update().loss for _ in range(3)] == more
    ahead.net.sources["data"].close()
    assert plain.net.sources["data"].state() == ahead.net.sources["data"].state()


def test_an_error_ahead_comes_with_its_batch(monkeypatch) -> None:
    run = make()
    (feed,) = fed_ahead(run.net)
    run._passes._feeds = [feed]
    run.update()
    assert feed._ahead is not None and feed._ahead.result()  # the second batch was drawn
    monkeypatch.setattr(feed._source, "next_batch", lambda: (_ for _ in ()).throw(DataError("damaged")))
    run.update()
    with pytest.raises(DataError, match="damaged"):
        run.update()
    assert run.iter == 2
    assert run.net.sources["data"].state()["position"] == 4


def test_data_from_a_generator_is_not_drawn_ahead() -> None:
    assert not may_be_drawn_ahead(None)


class Replayed(PassGraph):
    """A pass that runs the net where a graph would be replayed."""

    def takes(self, inputs) -> bool:
        return True

    def forward(self, inputs) -> Result:
        self.doubts: list[Doubt] = []
        self.result = self._net.run(inputs, doubts=self.doubts)
        self.values = stacked(self.result, self.doubts)
        return self.result

    def backward(self, scale: float = 1.0) -> None:
        (self.result.loss * scale).backward()


def test_replayed_passes_are_those_of_the_loop(monkeypatch) -> None:
    plain = make()
    monkeypatch.setattr(passes, "PassGraph", Replayed)
    replayed = make()
    replayed._passes = passes.Passes(replayed.net, replayed._schedules, graphs=True)
    assert losses(plain, 4) == losses(replayed, 4)


def test_joined_layers_give_the_same_values(monkeypatch) -> None:
    """The same draws of Dropout, too; passes that are displayed run layer by layer."""
    plain = make()
    monkeypatch.setattr(Net, "compile", partialmethod(Net.compile, backend="aot_eager"))
    joined = make(speed=Speed(compiled=True))
    assert "torch.compile joins 5 of 7 layers, in the first iteration" in described(joined.net, joined.speed)
    assert losses(joined, 4) == pytest.approx(losses(plain, 4), rel=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_inductor_joins_them_with_the_same_draws() -> None:
    plain, joined = make(), make(speed=Speed(compiled=True))
    assert losses(joined, 3) == pytest.approx(losses(plain, 3), rel=1e-5)


def test_layers_that_cannot_be_joined_say_why(monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(Net, "compile", partialmethod(Net.compile, backend=broken))
    run = make(speed=Speed(compiled=True))
    with pytest.raises(NetError) as caught:
        run.update()
    assert "layer 'conv1 to fc8' (torch.compile)" in str(caught.value)
    assert "RuntimeError: no compiler here" in str(caught.value)
    assert "without --compile" in str(caught.value)
    assert run.iter == 0
