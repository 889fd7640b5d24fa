"""Runs an ONNX graph in short pieces, so that every value can be inspected with few in memory at a time."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlossctl.errors import NetError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

VALUES = 24  # named values in one piece
LARGE = 1024  # a weight with at least this many values is kept once for all pieces


class Segments:
    """A graph cut into consecutive pieces, each run without ONNX Runtime's graph optimizations.

    A piece's session lives for one pass only: many sessions at a time would each hold working memory.

    Args:
        model: the whole model; it is read when a piece runs for the first time, and is not changed.
        values: names of the values that can be inspected, in the graph's order.
        folder: the file's folder, for weights stored beside it.
    """

    def __init__(self, model: ModelProto, values: Sequence[str], folder: str = "") -> None:
        self._model, self._folder = model, folder
        self._constants = {entry.name: entry for entry in model.graph.initializer}
        self._weights: dict[str, tuple[np.ndarray, Any]] = {}
        wanted = set(values)
        self._pieces = [_Piece(nodes) for nodes in _cut(model.graph.node, wanted)]
        outputs = {output.name for output in model.graph.output}
        needed = outputs
        for piece in reversed(self._pieces):
            piece.outputs = [name for name in piece.made if name in needed or name in wanted]
            needed = (needed - set(piece.made)) | {n for n in piece.read if n not in self._constants}
        last: dict[str, int] = {}
        for number, piece in enumerate(self._pieces):
            piece.inputs = [name for name in piece.read if name not in self._constants]
            last.update(dict.fromkeys(piece.inputs, number))
        self._last = last

    def run(
        self, feeds: Mapping[str, np.ndarray], names: Collection[str]
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Runs one pass and yields the named values in the graph's order.

        Args:
            feeds: the graph's inputs.

        Raises:
            NetError: ONNX Runtime fails, for example on a size that the graph does not take.
        """
        live = dict(feeds)
        for number, piece in enumerate(self._pieces):
            read = {name: live[name] for name in piece.inputs}
            for name in piece.inputs:
                if self._last[name] == number:
                    del live[name]
            found = self._run(piece, read)
            del read
            for name in list(found):
                if name in names:
                    yield name, found[name]
                if self._last.get(name, -1) > number:
                    live[name] = found[name]
                del found[name]

    def _run(self, piece: _Piece, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            found = self._session(piece, feeds).run(piece.outputs, feeds)
            return dict(zip(piece.outputs, found, strict=True))
        except Exception as error:  # ONNX Runtime raises its own types, one per status code
            raise NetError(
                "ONNX Runtime failed",
                where=self._model.graph.name,
                found=str(error).splitlines()[0],
                expected="a graph that runs on this image",
            ) from error

    def _session(self, piece: _Piece, feeds: dict[str, np.ndarray]) -> Any:
        import onnxruntime
        from onnx import ModelProto, helper

        model = ModelProto(ir_version=self._model.ir_version, opset_import=self._model.opset_import)
        model.functions.extend(self._model.functions)
        graph = model.graph
        graph.name = "piece"
        graph.node.extend(piece.nodes)
        for name, array in feeds.items():
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
        graph.output.extend(helper.make_empty_tensor_value_info(name) for name in piece.outputs)
        options = session_options()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.disable_prepacking", "1")
        weights = {name: self._constants[name] for name in piece.read if name in self._constants}
        large = {name: self._shared(tensor) for name, tensor in weights.items() if _is_large(tensor)}
        options.add_external_initializers(list(large), list(large.values()))
        graph.initializer.extend(
            _without_values(tensor) if name in large else tensor for name, tensor in weights.items()
        )
        providers = ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)

    def _shared(self, tensor: TensorProto) -> Any:
        """The values of a weight, kept once for all pieces that read it."""
        import onnxruntime
        from onnx import numpy_helper

        if tensor.name not in self._weights:
            array = numpy_helper.to_array(tensor, self._folder)
            # The session reads numpy's own memory.
            self._weights[tensor.name] = array, onnxruntime.OrtValue.ortvalue_from_numpy(array)
        return self._weights[tensor.name][1]


class _Piece:
    """Consecutive nodes, the names that they read from outside, and the names that they make."""

    def __init__(self, nodes: list[NodeProto]) -> None:
        self.nodes = nodes
        self.made = {name: None for node in nodes for name in node.output if name}
        self.read = {name: None for name in names_read(nodes) if name not in self.made}
        self.inputs: list[str] = []
        self.outputs: list[str] = []


def _is_large(tensor: TensorProto) -> bool:
    return tensor.data_location == tensor.EXTERNAL or math.prod(tensor.dims) >= LARGE


def _without_values(tensor: TensorProto) -> TensorProto:
    """The same weight without its values, which the session gets by name."""
    twin = type(tensor)(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    twin.data_location = twin.EXTERNAL
    twin.external_data.add(key="location", value="memory")
    return twin


def session_options() -> Any:
    """Options for a session without log output, with as many threads as torch uses."""
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch's threads run in between
    return options


def _cut(nodes: Iterable[NodeProto], wanted: Collection[str]) -> Iterator[list[NodeProto]]:
    piece: list[NodeProto] = []
    count = 0
    for node in nodes:
        piece.append(node)
        count += sum(name in wanted for name in node.output)
        if count >= VALUES:
            yield piece
            piece, count = [], 0
    if piece:
        yield piece


def inputs_of(model: ModelProto) -> list[ValueInfoProto]:
    """The graph's inputs without those that have values, as older files list all weights."""
    weights = {entry.name for entry in model.graph.initializer}
    return [entry for entry in model.graph.input if entry.name not in weights]


def cut_graph(model: ModelProto, target: str, given: Collection[str]) -> ModelProto:
    """The nodes that compute a value from given ones, as a model that takes those it reads."""
    from onnx import ModelProto, helper

    wanted = {target}
    nodes: list[NodeProto] = []
    feeds: dict[str, None] = {}
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            nodes.append(node)
            read = list(names_read([node]))
            wanted.update(name for name in read if name not in given)
            feeds.update(dict.fromkeys(name for name in read if name in given))
    part = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.functions.extend(model.functions)
    part.graph.name = model.graph.name
    part.graph.node.extend(reversed(nodes))
    known = {entry.name: entry for entry in (*model.graph.input, *model.graph.value_info)}
    part.graph.input.extend(known.get(name) or helper.make_tensor_value_info(name, 1, None) for name in feeds)
    part.graph.output.append(helper.make_empty_tensor_value_info(target))
    part.graph.initializer.extend(entry for entry in model.graph.initializer if entry.name in wanted)
    return part


def names_read(nodes: Iterable[NodeProto]) -> Iterator[str]:
    """The names that nodes read, including those that loop bodies take from outside."""
    for node in nodes:
        yield from (name for name in node.input if name)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                inside = {entry.name for entry in attribute.g.input}
                inside.update(entry.name for entry in attribute.g.initializer)
                inside.update(name for inner in attribute.g.node for name in inner.output)
                yield from (name for name in names_read(attribute.g.node) if name not in inside)
                outputs = (output.name for output in attribute.g.output)
                yield from (name for name in outputs if name not in inside)
