"""From a built net to layers that run by themselves over named blobs, with Caffe's Split and Input layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from rlossctl.layers.python import UserData, UserLayer
from rlossctl.net import Net
from rlossctl.net.layer import DataLayer
from rlossctl.net.pycaffe import Blob, BlobVec
from rlossctl.net.sharing import param_spec
from rlossctl.net.storage import Storage
from rlossctl.net.walk import LayerNode
from rlossctl.prototxt.messages import LayerParameter
from rlossctl.prototxt.splits import insert_splits
from rlossctl.prototxt.upgrade import modernize
from rlossctl.pycaffe.flow import Flow, decide
from rlossctl.pycaffe.runs import DataRun, LayerRun, ModuleRun, Place, SplitRun, UserRun

AUTOMATIC = "(automatic)"
# Of losses whose label is another bottom than the second, or that have none.
LABELS: dict[str, tuple[int, ...]] = {"ContrastiveLoss": (2,), "EuclideanLoss": ()}


@dataclass
class Wiring:
    """A net's layers and blobs in Caffe's order.

    Attributes:
        runs: the layers.
        names: of the blobs.
        blobs: in the order of their names.
        bottoms, tops: for each layer, indices of its blobs.
        inputs, outputs: indices of the net's inputs and of the blobs that no layer reads.
        learned: `id` of a parameter -> its blob; layers that share the parameter share the blob.
    """

    runs: list[LayerRun] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    blobs: list[Blob] = field(default_factory=list)
    bottoms: list[list[int]] = field(default_factory=list)
    tops: list[list[int]] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    learned: dict[int, Blob] = field(default_factory=dict)

    def weights(self) -> list[float]:
        """The loss weight of every blob."""
        found = [0.0] * len(self.names)
        for run, tops in zip(self.runs, self.tops, strict=True):
            for index, weight in zip(tops, run.place.weights, strict=True):
                found[index] = weight
        return found


def wire(net: Net) -> Wiring:
    """Lays out a built net as Caffe does: its splits, its names, its shared memory."""
    wirer = _Wirer(net)
    waiting = list(reversed(net.layers))
    param = insert_splits(modernize(net.param, net.dialect))
    wirer.add_inputs(param.input)
    for message in param.layer:
        ours = waiting and (waiting[-1].name, waiting[-1].type) == (message.name, message.type)
        wirer.add(message, waiting.pop() if ours else None)
    wirer.finish()
    return wirer.wiring


class _Wirer:
    def __init__(self, net: Net) -> None:
        self._net = net
        self._flows: list[Flow] = []
        self._current: dict[str, int] = {}
        self.wiring = Wiring()

    def add_inputs(self, names: Sequence[str]) -> None:
        """The net's own inputs, for which only BVLC has a layer."""
        for name in names:
            self._current[name] = self._new(name, self._net.shapes[name])
            self.wiring.inputs.append(self._current[name])

    def add(self, message: LayerParameter, node: LayerNode | None) -> None:
        """The next layer; without a node, one that Caffe inserts."""
        wiring = self.wiring
        bottoms = [self._current[name] for name in message.bottom]
        names = _top_names(message, node)
        tops = [self._top(message, node, index, name) for index, name in enumerate(names)]
        self._current.update(zip(names, tops, strict=True))
        place = Place(
            message.name,
            message.type,
            [wiring.blobs[index] for index in bottoms],
            [wiring.blobs[index] for index in tops],
            _weights(message, node, len(tops)),
            BlobVec() if node is None else self._learned(node),
        )
        wiring.runs.append(_run(place, node))
        wiring.bottoms.append(bottoms)
        wiring.tops.append(tops)
        if message.type == "Input":
            wiring.inputs += tops
        weighted = [bool(weight) for weight in place.weights]
        propagate = list(message.propagate_down) or None
        self._flows.append(Flow(message.bottom, names, _learns(node), weighted, propagate, _labels(node)))

    def finish(self) -> None:
        """What depends on the whole net: outputs, and the way of the gradients."""
        self.wiring.outputs = [self._current[name] for name in self._net.outputs]
        force = self._net.param.force_backward
        decide(self._flows, force=force)
        for run, flow in zip(self.wiring.runs, self._flows, strict=True):
            run.active, run.down = flow.active, flow.down
        if force:
            _let_all_learn(self._net)

    def _top(self, message: LayerParameter, node: LayerNode | None, index: int, name: str) -> int:
        """The number of a top's blob: the bottom's for an in-place layer, else a new one."""
        if index < len(message.bottom) and message.bottom[index] == name:
            return self._current[name]
        return self._new(name, self._shape(message, node, index))

    def _new(self, name: str, shape: Sequence[int]) -> int:
        self.wiring.names.append(name)
        self.wiring.blobs.append(Blob(shape, Storage.zeros(_count(shape), self._net.device)))
        return len(self.wiring.blobs) - 1

    def _shape(self, message: LayerParameter, node: LayerNode | None, top: int) -> Sequence[int]:
        if node is not None:
            return self._net.shapes[node.tops[top]]
        if message.bottom:  # a Split
            return self.wiring.blobs[self._current[message.bottom[0]]].shape
        return self._net.shapes[message.top[top]]

    def _learned(self, node: LayerNode) -> BlobVec:
        """The layer's blobs, in the parameters' memory; a Python layer's are its own objects."""
        own = _user_blobs(node)
        for index, param in enumerate(node.module.blobs):
            blob = self.wiring.learned.get(id(param))
            if blob is None:
                blob = own[index] if index < len(own) else Blob(param.shape)
                blob.reshape(*param.shape)
                blob.values = Storage(param, fixed=True)
                self.wiring.learned[id(param)] = blob
            own[index : index + 1] = [blob]
        return own


def _top_names(message: LayerParameter, node: LayerNode | None) -> list[str]:
    """The tops' names, those included that Caffe adds by itself."""
    given = list(message.top)
    return given if node is None else given + [AUTOMATIC] * (len(node.tops) - len(given))


def _labels(node: LayerNode | None) -> tuple[int, ...]:
    """The bottom of a loss that gets no gradient by force (LossLayer::AllowForceBackward)."""
    if node is None or node.node.kind.role != "loss":
        return ()
    return LABELS.get(node.type, (1,))


def _learns(node: LayerNode | None) -> bool:
    if node is None:
        return False
    return any(param_spec(node.node, index).lr_mult != 0 for index in range(len(node.module.blobs)))


def _run(place: Place, node: LayerNode | None) -> LayerRun:
    if node is None:
        return SplitRun(place) if place.type == "Split" else LayerRun(place)
    if isinstance(node.module, UserLayer):
        return UserRun(place, node.module.code)
    if isinstance(node.module, UserData):
        return UserRun(place, node.module.source)
    if isinstance(node.module, DataLayer):
        return DataRun(place, node)
    return ModuleRun(place, node)


def _user_blobs(node: LayerNode) -> BlobVec:
    if isinstance(node.module, UserLayer):
        found: BlobVec = node.module.code.layer.blobs
        return found
    return BlobVec()


def _weights(message: LayerParameter, node: LayerNode | None, tops: int) -> list[float]:
    """As the split net says: a loss that others read has its weight at the Split."""
    given = list(message.loss_weight)
    if len(given) == tops or node is None:
        return given or [0.0] * tops
    return list(node.node.loss_weights)


def _let_all_learn(net: Net) -> None:
    """With force_backward blobs with lr_mult 0 get a gradient, too; the solver leaves them alone."""
    for layer in net.layers:
        for index, blob in enumerate(layer.module.blobs):
            forced, _ = layer.module.forced_rates.get(index, (layer.module.forced_lr_mult, 0))
            if forced != 0 and layer.module.default_lr_mult != 0:  # else it is a statistic
                blob.requires_grad_()


def _count(shape: Sequence[int]) -> int:
    return torch.Size(shape).numel()
