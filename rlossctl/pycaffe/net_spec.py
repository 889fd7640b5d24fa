"""caffe.net_spec: nets written in Python, as messages (python/caffe/net_spec.py).

It is our NetSpec with Caffe's rules: outputs without a name get one, a name may be given again, and what is
made is a NetParameter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import Message

from rlossctl.prototxt.netspec import Layer, Layers, Outputs, own_message
from rlossctl.prototxt.netspec import Top as OurTop
from rlossctl.pycaffe.proto import caffe_pb2


class Top(OurTop):
    """Output `n` of the layer `fn`."""

    def __init__(self, fn: Function, n: int) -> None:
        super().__init__(fn)
        self.fn, self.n = fn, n

    def to_proto(self) -> Any:
        """The net that computes this output."""
        return to_proto(self)


class Function(Layer):
    """A layer: `type_name`, `inputs`, `params`, `in_place`, `ntop`, `tops`."""

    tops: list[Top]  # type: ignore[assignment]

    def add_tops(self, count: int) -> None:
        """Gives it so many outputs."""
        self.ntop = count
        self.tops = [Top(self, number) for number in range(count)]

    @property
    def type_name(self) -> str:
        """The layer type."""
        return self.type

    @property
    def inputs(self) -> Sequence[Top]:
        """The outputs that it reads."""
        return self.bottoms  # type: ignore[return-value]

    @property
    def params(self) -> dict[str, Any]:
        """Its fields."""
        return self.fields


class NetSpec(Outputs):
    """A net under construction: `n.conv1 = L.Convolution(n.data, num_output=20, kernel_size=5)`."""

    def to_proto(self) -> Any:
        """The net of all outputs that were assigned, as a NetParameter."""
        names = {top: name for name, top in self.tops.items()}
        return _net(self.tops.values(), names)


class _Values:
    """The enum values of one message: `params.Pooling.MAX`."""

    def __init__(self, message: str) -> None:
        self._message = message

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(caffe_pb2, f"{self._message}Parameter"), name)


class Parameters:
    """The enum values of all messages, by the name without `Parameter`."""

    def __getattr__(self, name: str) -> _Values:
        return _Values(name)


def to_proto(*tops: Top | Function) -> Any:
    """The NetParameter of all layers that these outputs need."""
    return _net(tops, {})


def assign_proto(proto: Message, name: str, value: Any) -> None:
    """Sets a field: from a list a repeated one, from a dict a message, from one value also a repeated one.

    Raises:
        AttributeError: the message has no such field.
    """
    field = getattr(proto, name)
    if hasattr(field, "extend"):
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, Mapping):
                _assign_all(field.add(), item)
            else:
                field.append(item)
    elif isinstance(value, Mapping):
        field.SetInParent()
        _assign_all(field, value)
    else:
        setattr(proto, name, value)


def _assign_all(proto: Message, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        assign_proto(proto, name, value)


def _net(tops: Any, names: dict[Any, str]) -> Any:
    writer = _Writer(names)
    for top in tops:
        writer.add(top.fn if isinstance(top, Top) else top)
    net = caffe_pb2.NetParameter()
    net.layer.extend(writer.layers.values())
    return net


class _Writer:
    """Writes layers after those that they read; names those that have no name by their type and number."""

    def __init__(self, names: dict[Any, str]) -> None:
        self.layers: dict[Function, Any] = {}
        self._names = names
        self._counts: Counter[str] = Counter()

    def add(self, function: Function) -> None:
        """A layer with all that it needs."""
        if function in self.layers:
            return
        for bottom in function.inputs:
            self.add(bottom.fn)
        bottoms = [self.layers[bottom.fn].top[bottom.n] for bottom in function.inputs]
        tops = bottoms if function.in_place else [self._name(top, function) for top in function.tops]
        first = function.tops[0] if function.tops else function
        name = self._name(first, function) if function.name is None else function.name
        layer = caffe_pb2.LayerParameter(name=name, type=function.type, bottom=bottoms, top=tops)
        for key, value in function.params.items():
            _assign_field(layer, function.type, key, value)
        self.layers[function] = layer

    def _name(self, key: Any, function: Function) -> str:
        if key not in self._names:
            self._counts[function.type] += 1
            self._names[key] = f"{function.type}{self._counts[function.type]}"
        return self._names[key]


def _assign_field(layer: Any, layer_type: str, name: str, value: Any) -> None:
    """Sets a field of the layer type's own message, or else one of the layer."""
    own = own_message(layer_type)
    if own is not None and not name.endswith("param"):
        message = getattr(layer, own)
        if name in message.DESCRIPTOR.fields_by_name:
            assign_proto(message, name, value)
            return
    assign_proto(layer, name, value)


layers = Layers(Function)
params = Parameters()
