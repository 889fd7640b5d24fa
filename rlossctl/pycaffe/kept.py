"""A net whose blobs stay and can be looked at: it runs layer by layer, in whole or in part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rlossctl.net import Net, Result
from rlossctl.net.net import label_files
from rlossctl.net.parameters import shared_blobs
from rlossctl.net.plan import Plan
from rlossctl.net.pycaffe import Blob
from rlossctl.net.walk import Watch
from rlossctl.postponed import Doubt, postponing
from rlossctl.pycaffe.runs import DataRun, LayerRun
from rlossctl.pycaffe.wiring import wire

Callback = Callable[[int], object]


class Callbacks(NamedTuple):
    """Functions of a layer's number, called around it."""

    before_forward: list[Callback]
    after_forward: list[Callback]
    before_backward: list[Callback]
    after_backward: list[Callback]


class KeptNet(Net):
    """A built net over blobs that stay. For a solver it is a net as any other.

    Attributes:
        wiring: its layers and blobs in Caffe's order.
        callbacks: called around every layer.
    """

    def __init__(self, net: Net) -> None:
        super().__init__(net.draft, net.layers, net.learnable)
        self.wiring = wire(net)
        self.callbacks = Callbacks([], [], [], [])

    def forward_from_to(self, start: int, end: int, skipped: Iterable[LayerRun] = ()) -> None:
        """Runs layers `start` to `end`, both included, but those in `skipped` (Net::ForwardFromTo)."""
        for number in range(start, end + 1):
            run = self.wiring.runs[number]
            _call(self.callbacks.before_forward, number)
            if run not in skipped:
                run.forward()
            _call(self.callbacks.after_forward, number)

    def loss(self, start: int, end: int) -> float:
        """What layers `start` to `end` add to the loss, as their blobs are now."""
        numbers = range(start, end + 1)
        return sum((value * weight).item() for value, weight in self._losses(numbers).values())

    def backward_from_to(self, start: int, end: int) -> None:
        """Runs the backward passes of layers `start` down to `end`, both included (Net::BackwardFromTo)."""
        for number in range(start, end - 1, -1):
            _call(self.callbacks.before_backward, number)
            if self.wiring.runs[number].active:
                self.wiring.runs[number].backward()
            _call(self.callbacks.after_backward, number)

    def reshape_all(self) -> None:
        """Gives all blobs the shapes that follow from those of the inputs (Net::Reshape)."""
        for run in self.wiring.runs:
            run.reshape()

    def clear_param_diffs(self) -> None:
        """Sets the gradients of the learned blobs to 0."""
        for blob in self.wiring.learned.values():
            blob.gradient.zero()

    def share_with(self, other: KeptNet) -> None:
        """Layers with the same names as another net's use its memory for their weights.

        Raises:
            NetError: their blobs differ in number or shape.
        """
        shared_blobs([(layer.node, layer.module) for layer in self.layers], other.params)  # only checks
        swapped = {
            id(own): theirs
            for name, mine in self.params.items()
            for own, theirs in zip(mine, other.params.get(name, ()), strict=False)
        }
        for layer in self.layers:
            for index, own in enumerate(list(layer.module.blobs)):
                layer.module.blobs[index] = swapped.get(id(own), own)
        for own_id, theirs in swapped.items():
            blob = self.wiring.learned.pop(own_id)
            blob.values = other.wiring.learned[id(theirs)].values
            self.wiring.learned[id(theirs)] = blob
        self.params = {name: list(self.layer(name).module.blobs) for name in self.params}
        self.learnable = [
            replace(entry, tensor=swapped.get(id(entry.tensor), entry.tensor)) for entry in self.learnable
        ]
        self.weights_changed()

    def look_through(self, other: KeptNet) -> None:
        """Parameters that another net has, too, are seen through its memory: a write counts for both."""
        for key, blob in self.wiring.learned.items():
            if key in other.wiring.learned:
                blob.values = other.wiring.learned[key].values

    def weights_changed(self) -> None:
        """Somebody else wrote the learned blobs."""
        for blob in self.wiring.learned.values():
            blob.values.overwritten()
        for run in self.wiring.runs:
            run.forget()

    def move(self, device: torch.device) -> None:
        """Takes weights and blobs to a device."""
        if all(blob.values.device == device for blob in self.wiring.blobs):
            return
        for blob in (*self.wiring.blobs, *self.wiring.learned.values()):
            blob.move(device)
        self.to(device)
        for layer in self.layers:
            for param in layer.module.blobs:
                self.wiring.learned[id(param)].values.follow(param)
        for run in self.wiring.runs:
            run.forget()

    def write_back(self) -> None:
        """What a script wrote into learned blobs gets to their device."""
        for blob in self.wiring.learned.values():
            blob.values.tensor()

    def run(
        self,
        inputs: Mapping[str, Tensor] | None = None,
        *,
        keep: bool = False,
        until: Iterable[str] = (),
        watch: Watch | None = None,
        plan: Plan | None = None,
        doubts: list[Doubt] | None = None,
        layer_by_layer: bool = False,
    ) -> Result:
        """As `Net.run`; the blobs show the pass, and the loss's backward pass goes over their gradients.

        A pass in part, one that is watched, or one whose losses count otherwise runs as in any other net;
        the blobs then show its values, and no gradients.
        """
        self.write_back()
        if until or watch is not None or (plan is not None and (plan.factors or plan.skipped)):
            return self._shown(inputs, until, watch, plan, doubts)
        given = self._put(inputs or {})
        with postponing(doubts) if doubts is not None else nullcontext():
            self.forward_from_to(0, len(self.wiring.runs) - 1, given)
        drawn = [name for run in self._data_runs() if run not in given for name in label_files(run.source)]
        losses = self._losses(range(len(self.wiring.runs)))
        total = sum(
            (value * weight for value, weight in losses.values()), torch.zeros((), device=self.device)
        )
        if torch.is_grad_enabled() and losses:
            seed = torch.zeros((), device=self.device, requires_grad=True)
            total = _Backwards.apply(seed, total, self)
        outputs = {self.wiring.names[index]: self._value(index) for index in self.wiring.outputs}
        blobs = {name: blob.tensor() for name, blob in self._named().items()} if keep else dict(outputs)
        return Result(blobs, outputs, total, losses, drawn)

    def whole_backward(self) -> None:
        """The backward pass of all layers; gradients are where a solver looks for them."""
        for entry in self.learnable:
            gradient = self.wiring.learned[id(entry.tensor)].gradient
            if entry.tensor.grad is None:
                gradient.zero()
        self.backward_from_to(len(self.wiring.runs) - 1, 0)
        self.lend_gradients()

    def lend_gradients(self) -> None:
        """The blobs' gradients become those of the parameters; their memory is one."""
        for entry in self.learnable:
            if entry.tensor.requires_grad:
                gradient = self.wiring.learned[id(entry.tensor)].gradient
                entry.tensor.grad = gradient.tensor().view(entry.tensor.shape)
                gradient.overwritten()

    def _put(self, inputs: Mapping[str, Tensor]) -> list[LayerRun]:
        """Writes given inputs; returns the data layers that need not run."""
        named = self._named()
        for name, values in inputs.items():
            named[name].take(values)
        blobs = [named[name] for name in inputs]
        return [run for run in self._data_runs() if any(top in blobs for top in run.place.tops)]

    def _data_runs(self) -> list[DataRun]:
        return [run for run in self.wiring.runs if isinstance(run, DataRun)]

    def _named(self) -> dict[str, Blob]:
        return dict(zip(self.wiring.names, self.wiring.blobs, strict=True))

    def _value(self, index: int) -> Tensor:
        return self.wiring.blobs[index].tensor().detach()

    def _losses(self, numbers: Iterable[int]) -> dict[str, tuple[Tensor, float]]:
        """Under the name of the layer's own top also where Caffe moves the weight to a Split."""
        losses = {}
        for number in numbers:
            run = self.wiring.runs[number]
            names = self.wiring.bottoms[number] if run.place.type == "Split" else self.wiring.tops[number]
            for index, top, weight in zip(names, run.place.tops, run.place.weights, strict=False):
                if weight:
                    losses[self.wiring.names[index]] = (top.tensor().sum(), weight)
        return losses

    def _shown(
        self,
        inputs: Mapping[str, Tensor] | None,
        until: Iterable[str],
        watch: Watch | None,
        plan: Plan | None,
        doubts: list[Doubt] | None,
    ) -> Result:
        result = super().run(inputs, keep=True, until=until, watch=watch, plan=plan, doubts=doubts)
        for name, blob in self._named().items():
            if name in result.blobs:
                blob.take(result.blobs[name].detach().clone())
        return result


class _Backwards(torch.autograd.Function):
    """The loss of a pass, whose backward pass is that of the net's layers, one by one."""

    @staticmethod
    def forward(ctx: Any, seed: Tensor, loss: Tensor, net: KeptNet) -> Tensor:
        ctx.net = net
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None]:
        ctx.net.whole_backward()
        return None, None, None


def _call(callbacks: Iterable[Callback], number: int) -> None:
    for callback in callbacks:
        callback(number)
