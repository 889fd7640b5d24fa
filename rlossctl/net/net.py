"""Net: a prototxt as a torch.nn.Module, with pycaffe's names."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlossctl.errors import NetError
from rlossctl.net.compiled import Terms, compiled_layers
from rlossctl.net.draft import Draft
from rlossctl.net.joined import joined_layers
from rlossctl.net.layer import BatchSource, DataLayer, Layer
from rlossctl.net.parameters import Fitted, Learnable, copy_blobs, copy_fitting, without_spare
from rlossctl.net.plan import Plan
from rlossctl.net.precision import as_float
from rlossctl.net.walk import LayerNode, Numbered, Watch, last_readers, readers, walk
from rlossctl.postponed import Doubt, postponing
from rlossctl.prototxt.messages import NetParameter
from rlossctl.weights import Blob, Weights, load_weights


@dataclass
class Result:
    """The results of one pass.

    Attributes:
        blobs: all blobs by name (the last writer's value), or only those still needed.
        outputs: the blobs that no layer reads, in Caffe's alphabetical order.
        loss: the objective, sum of loss_weight * sum(top) over all tops; a scalar tensor.
        losses: blob -> (sum of the top, loss weight) for every weighted top, automatic ones included.
        files: the label files of the batch that was drawn, where they are known.
    """

    blobs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    loss: Tensor
    losses: dict[str, tuple[Tensor, float]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)


class Net(nn.Module):
    """A net as Caffe would run it, in one phase.

    Made by `rlossctl.load_net`. Call it with blobs by name to get the output blobs. You may also give the
    tops of data layers; otherwise these layers supply a batch.

    As a Module it has a submodule for every layer, under the layer's name, and its parameters are called
    `conv1.0` and `conv1.1`: blobs 0 and 1 of layer conv1.

    Attributes:
        name, phase: as the prototxt says; phase is "TRAIN" or "TEST".
        dialect, dialect_reason: the Caffe fork that the net is for, and how that is known.
        draft: what was known before it was built.
        file: the filtered NetParameter (`file.param`) and where it came from.
        layers: the built layers in order.
        inputs: net-level inputs and Input tops.
        outputs: names of the blobs that no layer reads.
        loss_weights: weighted top -> its weight.
        regularizers: those of the weighted tops that come from a regularizer (`Layer.regularizer`).
        shapes: blob name -> shape, for the sizes that the prototxt states.
        params: layer name -> list of blob tensors (sharers hold the same tensor).
        learnable: owned blobs with their rates, in the solver's order.
        sources: data layer name -> what supplies its batches.
        compiled: the layers with their numbers, where `compile` has joined some; else empty.
        channels_last: images are laid out with their channels last; `use_channels_last` sets it.
        precision: torch.bfloat16 or torch.float16 for layers that may compute in it; None, the default, is
            float32.
    """

    def __init__(self, draft: Draft[Layer], layers: list[LayerNode], learnable: list[Learnable]) -> None:
        super().__init__()
        self.draft = draft
        self.file = draft.file
        self.name = draft.name
        self.phase = draft.phase
        self.dialect = draft.dialect
        self.dialect_reason = draft.dialect_reason
        self.graph = draft.graph
        self.layers = layers
        self.shapes = draft.shapes
        self.learnable = learnable
        self.params = {layer.name: list(layer.module.blobs) for layer in layers if len(layer.module.blobs)}
        self.sources: dict[str, BatchSource] = {
            layer.name: layer.module.source
            for layer in layers
            if isinstance(layer.module, DataLayer) and layer.module.source is not None
        }
        self.inputs = draft.inputs
        self.outputs = list(draft.graph.outputs)
        self.precision: torch.dtype | None = None
        self.channels_last = False
        self.loss_weights = {
            top: weight
            for layer in layers
            for top, weight in zip(layer.tops, layer.node.loss_weights, strict=True)
            if weight
        }
        self.regularizers = frozenset(
            top
            for layer in layers
            if layer.module.regularizer
            for top in layer.tops
            if top in self.loss_weights
        )
        self._last_reader = last_readers(layers)
        self._joined = joined_layers(layers, self.outputs)
        self._joined_reader = readers(self._joined)
        self.compiled: list[Numbered] = []
        self._compiled_reader: dict[int, list[str]] = {}
        for number, layer in enumerate(layers):
            # Not add_module, which refuses names with dots; a name that is taken gets the layer's number.
            taken = hasattr(self, layer.name)
            self._modules[f"{layer.name}#{number}" if taken else layer.name] = layer.module
        self.register_load_state_dict_pre_hook(_before_loading)
        self.register_load_state_dict_post_hook(_after_loading)
        self._prefix = ""  # of the keys of a state that is being loaded

    @property
    def param(self) -> NetParameter:
        """The filtered NetParameter."""
        return self.file.param

    @property
    def device(self) -> torch.device:
        """The device of the weights (the CPU for a net without weights)."""
        return next((blob.device for blob in self.parameters()), torch.device("cpu"))

    def forward(self, **blobs: Tensor) -> dict[str, Tensor]:
        """Takes input blobs by name and returns output blobs by name."""
        return self.run(blobs).outputs

    def forward_blobs(self, **blobs: Tensor) -> dict[str, Tensor]:
        """Like a call, but returns every blob; for in-place layers, the last writer's value."""
        return self.run(blobs, keep=True).blobs

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
        """One pass.

        Args:
            inputs: blobs by name; a data layer with none of its tops here supplies a batch.
            keep: keep every blob instead of dropping each after its last reader.
            until: run only the layers that these blobs need, and keep them.
            watch: sees every layer's bottoms and tops.
            plan: how much the losses count, if not as the prototxt says.
            doubts: takes the checks of values that would wait for a GPU; by default they are made at once.
            layer_by_layer: also where `compile` has joined layers; so are passes that keep or skip some.

        Raises:
            NetError: an input is missing or unknown.
        """
        blobs = {name: self._laid_out(blob) for name, blob in (inputs or {}).items()}
        self._check_inputs(blobs)
        kept = frozenset(until)
        needed = self.layers_for(kept) if kept else set(range(len(self.layers)))
        plan = plan or Plan()
        needed -= plan.skipped
        if keep or kept or watch:
            layers, last = list(enumerate(self.layers)), {} if keep else self._last_reader
        elif self.compiled and not (layer_by_layer or plan.skipped):
            layers, last = self.compiled, self._compiled_reader
        else:
            layers, last = self._joined, self._joined_reader
        layers = [(number, layer) for number, layer in layers if number in needed]
        losses: dict[str, tuple[Tensor, float]] = {}
        drawn: list[str] = []
        try:
            feed = partial(self._feed, blobs, drawn)
            # ContextVars cannot be traced; neither are the checks, which would break the graph.
            with contextlib.nullcontext() if torch.compiler.is_compiling() else postponing(doubts):
                steps = walk(layers, blobs, last, kept=kept, feed=feed, watch=watch, precision=self.precision)
                for step in steps:
                    node = step.layer.node
                    for top, weight, value in zip(node.tops, node.loss_weights, step.tops, strict=True):
                        if weight:
                            part = weight * plan.factors.get(step.number, 1.0)
                            losses[top] = (as_float(value, self.precision).sum(), part)
        except NetError as error:
            error.name_files(drawn)
            raise
        outputs = {name: blobs[name] for name in self.outputs if name in blobs}
        loss = sum((value * weight for value, weight in losses.values()), torch.zeros((), device=self.device))
        return Result(blobs, outputs, loss, losses, drawn)

    def draw(self, given: Mapping[str, Tensor] | None = None) -> tuple[dict[str, Tensor], list[str]]:
        """A batch for all data layers but those whose tops are given; with the label files, where known."""
        blobs, drawn = dict(given or {}), list[str]()
        for layer in self.layers:
            if isinstance(layer.module, DataLayer):
                self._feed(blobs, drawn, layer)
        return {name: self._laid_out(blob) for name, blob in blobs.items()}, drawn

    def compile(self, **options: Any) -> None:
        """Lets torch.compile join layers between data layers and losses; the next pass takes its time for it.

        Values differ by rounding; hooks of joined layers are not called. Set `precision` before.

        Args:
            options: of torch.compile: backend, mode, dynamic ...
        """
        self.compiled = compiled_layers(self.layers, Terms(self.outputs, self.precision, options))
        self._compiled_reader = readers(self.compiled)

    @torch.no_grad()
    def use_channels_last(self) -> None:
        """Lays out the weights of convolutions and all images with their channels last: faster, same values.

        Called before anything else holds the weights; nets that share them may be told, too.
        """
        self.channels_last = True
        for entry in self.learnable:
            if entry.tensor.dim() == 4:
                entry.tensor.data = entry.tensor.data.contiguous(memory_format=torch.channels_last)

    def _laid_out(self, blob: Tensor) -> Tensor:
        if not self.channels_last or blob.dim() != 4:
            return blob
        return blob.contiguous(memory_format=torch.channels_last)

    def layers_for(self, blobs: Iterable[str]) -> set[int]:
        """Numbers of the layers that the final values of `blobs` depend on."""
        wanted, needed = set(blobs), set[int]()
        for number in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[number]
            if wanted.intersection(layer.tops):
                needed.add(number)
                wanted.difference_update(layer.tops)
                wanted.update(layer.bottoms)
        return needed

    def layer(self, name: str) -> LayerNode:
        """The first layer with this name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise NetError(f"has no layer {name!r}", where=self.file.path)

    def copy_from(self, path: str | Path) -> tuple[list[str], list[str]]:
        """Copies weights by layer name from a caffemodel (binary or HDF5), or a file converted from one.

        Returns:
            Names of the layers copied, and of the file's layers that the net does not have.

        Raises:
            WeightsError: damaged file, or counts and shapes that do not fit (all listed, nothing copied).
        """
        return self.copy_model(load_weights(path), str(path))

    def copy_model(self, model: Weights, where: str) -> tuple[list[str], list[str]]:
        """Like `copy_from`, from opened weights; `where` names them in errors."""
        layers = self._without_spare(model, where)
        return copy_blobs(layers, self.params, where, complete=model.format == "binaryproto")

    def copy_fitting(self, path: str | Path) -> Fitted:
        """Like `copy_from`, but layers whose blobs do not fit keep their fillers' values, and are named."""
        model = load_weights(path)
        layers = self._without_spare(model, str(path))
        return copy_fitting(layers, self.params, complete=model.format == "binaryproto")

    def _without_spare(self, model: Weights, where: str) -> Iterator[tuple[str, Sequence[Blob | None]]]:
        spare = {layer.name: layer.module.spare_blobs for layer in self.layers}
        for layer in model.layers:
            own = len(self.params.get(layer.name, ()))
            yield layer.name, without_spare(layer.name, layer.blobs, own, spare.get(layer.name, ()), where)

    def _feed(self, blobs: dict[str, Tensor], drawn: list[str], layer: LayerNode) -> None:
        """Draws a batch for a data layer if none of its tops was given; notes its label files, if known."""
        source = layer.module.source if isinstance(layer.module, DataLayer) else None
        if source is None or any(name in blobs for name in layer.tops):
            return
        for name, batch in zip(layer.tops, source.next_batch(), strict=True):
            blob = batch if isinstance(batch, Tensor) else torch.from_numpy(batch).to(self.device)
            blobs[name] = self._laid_out(blob)
        drawn += label_files(source)

    def _check_inputs(self, blobs: Mapping[str, Tensor]) -> None:
        feedable = {top for layer in self.layers if isinstance(layer.module, DataLayer) for top in layer.tops}
        feedable.update(self.graph.inputs)
        unknown = [name for name in blobs if name not in feedable]
        missing = [name for name in self.graph.inputs if name not in blobs]
        if unknown or missing:
            raise NetError(
                f"{'does not take' if unknown else 'needs'} the input {(unknown or missing)[0]!r}",
                where=self.file.path,
                found=", ".join(blobs) or "no inputs",
                expected=", ".join(sorted(feedable)),
                advice="name the tensors after the net's inputs or the tops of its data layers",
            )


def label_files(source: BatchSource | None) -> list[str]:
    """The label files of the batch that a source gave last, where they are known."""
    samples = getattr(source, "last_batch", ())
    return [str(sample.label) for sample in samples if sample is not None]


def _before_loading(net: Net, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Takes states of rlossctl's first versions as well, in which conv1.0 was modules_in_order.1.blobs.0."""
    net._prefix = prefix
    names = list(net._modules)
    for key in list(state):
        match = re.fullmatch(r"modules_in_order\.(\d+)\.(?:blobs\.)?(.*)", key.removeprefix(prefix))
        if match and int(match[1]) < len(names):
            state[f"{prefix}{names[int(match[1])]}.{match[2]}"] = state.pop(key)


def _after_loading(net: Net, keys: Any) -> None:
    """torch splits keys at their dots, and does not know those of a layer with dots in its name."""
    own = {net._prefix + key for key in net.state_dict()}
    keys.unexpected_keys[:] = [key for key in keys.unexpected_keys if key not in own]
