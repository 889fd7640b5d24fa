"""An ONNX graph that grows layer by layer: what a layer writes itself with (`Layer.write_onnx`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import FunctionProto, NodeProto, TensorProto
    from torch import Tensor

    from rlossctl.net.layer import Layer

LAST = 2**63 - 1  # as the end of a Slice: the end of the axis
FLOAT, INT64 = 1, 7  # ONNX's numbers for types


@dataclass(frozen=True)
class OnnxValue:
    """A bottom of the layer that is being written.

    Attributes:
        name: of the value in the graph.
        shape: its sizes, None where they vary.
    """

    name: str
    shape: tuple[int | None, ...]

    def sizes(self, start: int = 0, end: int | None = None) -> list[int] | None:
        """The sizes of the axes from `start` to before `end`, if none of them varies."""
        found = [size for size in self.shape[start:end] if size is not None]
        return found if len(found) == len(self.shape[start:end]) else None


OnnxInput = OnnxValue | str
Written = str | tuple[str, ...] | None  # the names of a layer's tops; None: the layer cannot be written


@dataclass
class OnnxGraph:
    """The nodes and weights so far.

    Attributes:
        layer: the name of the layer that is being written; its nodes and constants are named after it.
    """

    nodes: list[NodeProto] = field(default_factory=list)
    weights: dict[str, TensorProto] = field(default_factory=dict)
    functions: list[FunctionProto] = field(default_factory=list)
    layer: str = ""
    _shared: dict[tuple[int, tuple[int, ...]], tuple[str, Tensor]] = field(default_factory=dict)
    _filled: dict[tuple[int, float], str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _labels: set[str] = field(default_factory=set)

    def node(self, kind: str, *inputs: OnnxInput, **attributes: Any) -> str:
        """Adds a node with one output, and returns the output's name."""
        return self.node_with(1, kind, *inputs, **attributes)[0]

    def node_with(self, outputs: int, kind: str, *inputs: OnnxInput, **attributes: Any) -> tuple[str, ...]:
        """Adds a node with several outputs, and returns their names."""
        from onnx import helper

        name = f"{self.layer}/{kind}"
        tops = [self.free(f"{name}.{number}" if number else name) for number in range(outputs)]
        self.nodes.append(
            helper.make_node(kind, list(map(name_of, inputs)), tops, self.label(name), **attributes)
        )
        return tuple(tops)

    def copy(self, value: str, name: str) -> None:
        """A second name for a value."""
        from onnx import helper

        label = self.label(f"{self.layer}/Identity")
        self.nodes.append(helper.make_node("Identity", [value], [name], label))

    def blobs(self, layer: Layer) -> list[str]:
        """The layer's learned blobs as weights of the graph; shared ones once."""
        return [self.weight(str(index), blob) for index, blob in enumerate(layer.blobs)]

    def weight(self, name: str, values: Tensor, shape: Sequence[int] | None = None) -> str:
        """A tensor of the net as a weight of the graph, if need be in another shape."""
        shape = tuple(values.shape if shape is None else shape)
        key = id(values), shape
        if key not in self._shared:
            array = values.detach().cpu().numpy().reshape(shape)
            self._shared[key] = self._initializer(name, np.ascontiguousarray(array)), values
        return self._shared[key][0]

    def filled(self, name: str, count: int, value: float) -> str:
        """The same float32 `count` times, once for all layers."""
        if (count, value) not in self._filled:
            self._filled[count, value] = self._initializer(name, np.full(count, value, np.float32))
        return self._filled[count, value]

    def integers(self, name: str, values: Sequence[int]) -> str:
        """A list of whole numbers."""
        return self._initializer(name, np.array(values, np.int64))

    def number(self, name: str, value: float) -> str:
        """A single float32."""
        return self._initializer(name, np.array(value, np.float32))

    def numbers(self, name: str, values: Sequence[float]) -> str:
        """A list of float32."""
        return self._initializer(name, np.array(values, np.float32))

    def sizes(self, value: OnnxValue, start: int, end: int) -> str:
        """The sizes of the axes from `start` to before `end`, constant or read from the value."""
        known = value.sizes(start, end)
        if known is not None:
            return self.integers("sizes", known)
        return self.node("Shape", value, start=start, end=end)

    def ones(self, value: OnnxInput) -> str:
        """Ones in the shape of a value."""
        from onnx import numpy_helper

        one = numpy_helper.from_array(np.ones(1, np.float32))
        return self.node("ConstantOfShape", self.node("Shape", value), value=one)

    def scaled(self, value: OnnxInput, scale: float, shift: float) -> str:
        """value * scale + shift, without the nodes that would change nothing."""
        if scale != 1:
            value = self.node("Mul", value, self.number("scale", scale))
        return self.node("Add", value, self.number("shift", shift)) if shift else name_of(value)

    def sliced(self, value: OnnxInput, axis: int, start: int, end: int) -> str:
        """The values from `start` to before `end` along an axis."""
        places = (
            self.integers(name, [number]) for name, number in (("from", start), ("to", end), ("along", axis))
        )
        return self.node("Slice", value, *places)

    def reshaped(self, value: OnnxValue, before: Sequence[int], dims: Sequence[int], end: int) -> Written:
        """Replaces the axes between the first `before` ones and `end` by `dims` (0: a copy, -1: the rest)."""
        shape = [*before, *dims]
        for axis in range(end, len(value.shape)):
            size = value.shape[axis]
            shape.append(0 if len(shape) == axis else -1 if size is None else size)
        if shape.count(-1) > 1:
            return None
        return self.node("Reshape", value, self.integers("shape", shape))

    def free(self, name: str) -> str:
        """`name`, or `name#1`, ...: one that no value has."""
        return _free(name, self._taken)

    def label(self, name: str) -> str:
        """The same for the name of a node."""
        return _free(name, self._labels)

    def _initializer(self, name: str, array: np.ndarray) -> str:
        from onnx import numpy_helper

        free = self.free(f"{self.layer}/{name}")
        self.weights[free] = numpy_helper.from_array(array, free)
        return free


def name_of(value: OnnxInput) -> str:
    """The value's name in the graph."""
    return value if isinstance(value, str) else value.name


def _free(name: str, taken: set[str]) -> str:
    number, found = 0, name
    while found in taken:
        number += 1
        found = f"{name}#{number}"
    taken.add(found)
    return found
