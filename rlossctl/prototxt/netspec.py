"""Nets written in Python and printed as prototxt, like pycaffe's NetSpec.

    n = NetSpec("LeNet", header="A small net.")
    n.data, n.label = L.Data(ntop=2, name="data", source="mnist_lmdb", batch_size=64)
    n.conv1 = L.Convolution(n.data, num_output=20, kernel_size=5, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n["fc8_${EXP}"] = L.Convolution(n.relu1, num_output="${NUM_LABELS}", kernel_size=1)
    print(n.to_text())

Assigning a layer's result to the net names the blob and, unless `name` is given, the layer. Layers are
printed in the order of assignment. A keyword is a field of the layer or of the layer type's own message; the
schema decides which, and gives the types of the values. A `${NAME}` placeholder may replace a value of any
type: the text is a template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from rlossctl.errors import PrototxtError
from rlossctl.prototxt import schema
from rlossctl.prototxt.template import PLACEHOLDER

WIDTH = 100  # a message of scalars that fits into this width is printed on one line

# Types whose own message is not called <Type>Parameter.
OWN_MESSAGE = {
    "Deconvolution": "convolution_param",
    "ImageSegData": "image_data_param",
    "LSTM": "recurrent_param",
    "RNN": "recurrent_param",
    "SoftmaxWithLoss": "loss_param",
}

_INTEGERS = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)
_UNSIGNED = (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
_FLOATS = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
_LABELS = {
    FieldDescriptor.CPPTYPE_BOOL: "True or False",
    FieldDescriptor.CPPTYPE_STRING: "a string",
    **dict.fromkeys(_INTEGERS, "an integer"),
    **dict.fromkeys(_UNSIGNED, "an integer of at least 0"),
    **dict.fromkeys(_FLOATS, "a number"),
}


class Layer:
    """One layer of a net under construction; made by `L.<Type>(...)`."""

    def __init__(self, type_name: str, bottoms: Sequence[Top], in_place: bool, fields: dict[str, object]):
        self.type = type_name
        self.name = fields.pop("name", None)
        self.bottoms = bottoms
        self.in_place = in_place
        self.fields = fields
        self.tops: list[Top] = []

    def add_tops(self, count: int) -> None:
        """Gives it so many outputs."""
        self.tops = [Top(self) for _ in range(count)]

    def to_text(self) -> str:
        """The layer's prototxt block."""
        where = f"layer {self.name!r} ({self.type})"
        head = {
            "name": self.name,
            "type": self.type,
            "bottom": [bottom.blob for bottom in self.bottoms],
            "top": [top.blob for top in self.tops],
        }
        return "\n".join(_message("layer", {**head, **self._grouped(where)}, _layer_descriptor(), where, 0))

    def _grouped(self, where: str) -> dict[str, object]:
        """The keywords; those of the type's own message are grouped under that message's name."""
        layer_fields = _layer_descriptor().fields_by_name
        own_name = own_message(self.type)
        out = {key: value for key, value in self.fields.items() if key in layer_fields}
        own = {key: value for key, value in self.fields.items() if key not in layer_fields}
        if not own:
            return out
        if own_name is None:
            raise PrototxtError(
                "has a keyword that no layer has",
                where=where,
                found=", ".join(own),
                expected=f"a field of LayerParameter: {self.type} has no message of its own",
                advice="check the spelling",
            )
        given = out.get(own_name, {})
        if not isinstance(given, Mapping):
            raise _wrong_value(own_name, given, "a dict", where)
        return {**out, own_name: {**given, **own}}


class Top:
    """One output of a layer; `blob` is its name, known once it is assigned to a net."""

    def __init__(self, layer: Layer):
        self.layer = layer
        self._blob: str | None = None

    @property
    def blob(self) -> str:
        if self._blob is None:
            raise PrototxtError(
                "an output of this layer has no name",
                where=f"layer {self.layer.name!r} ({self.layer.type})",
                expected="every top assigned to the net before it is read or printed",
                advice="write n.some_name = L.Type(...)",
            )
        return self._blob


class Layers:
    """`L.Convolution(bottom, ..., num_output=64)`: one function for each layer type.

    Positional arguments are bottoms. Keywords: `ntop` (default 1; 0 for a layer without outputs), `in_place`
    (the output overwrites the first bottom), `name` (if the layer is not named after its first output) and
    the fields of the layer. Returns the Top, a tuple of Tops, or with ntop=0 the Layer, to be assigned.

    Args:
        layer: the class of the layers.

    Raises:
        TypeError: a bottom is something else than the output of a layer.
    """

    def __init__(self, layer: type[Layer] = Layer) -> None:
        self._layer = layer

    def __getattr__(self, type_name: str) -> Callable[..., Any]:
        if type_name.startswith("_"):
            raise AttributeError(type_name)

        def make(
            *bottoms: Top, ntop: int = 1, in_place: bool = False, **fields: object
        ) -> Top | tuple[Top, ...] | Layer:
            for index, bottom in enumerate(bottoms):
                if not isinstance(bottom, Top):
                    raise TypeError(f"{type_name} input {index} is not a Top (type is {type(bottom)})")
            layer = self._layer(type_name, bottoms, in_place, fields)
            layer.add_tops(ntop)
            return layer.tops[0] if ntop == 1 else tuple(layer.tops) if ntop else layer

        return make


L = Layers()


class Outputs:
    """Outputs of layers by attribute, or by item if the name is not an identifier.

    Attributes:
        tops: the outputs by name.
    """

    tops: dict[str, Any]

    def __init__(self) -> None:
        vars(self)["tops"] = {}

    def __getattr__(self, name: str) -> Any:
        try:
            return vars(self)["tops"][name]
        except KeyError:
            raise AttributeError(f"the net has no output {name!r} yet") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        self.tops[name] = value


class NetSpec(Outputs):
    """A net under construction.

    Args:
        name: the net's name.
        header: a comment for the top of the text.
    """

    _name: str
    _header: str
    _blocks: list[Layer | str]

    def __init__(self, name: str, header: str = "") -> None:
        super().__init__()
        vars(self).update(_name=name, _header=header, _blocks=[])

    def __setitem__(self, name: str, value: Top | Layer) -> None:
        layer = value if isinstance(value, Layer) else value.layer
        if name in self.tops:
            raise PrototxtError(
                "the net has two outputs with the same name",
                where=f"output {name!r}",
                found=f"layers of type {self.tops[name].layer.type} and {layer.type}",
                expected="a different name for each",
                advice="rename one of them",
            )
        if layer.name is None:
            layer.name = name
        if isinstance(value, Top):
            value._blob = layer.bottoms[0].blob if layer.in_place else name
            self.tops[name] = value
        if layer not in self._blocks:
            self._blocks.append(layer)

    @property
    def layers(self) -> list[Layer]:
        """The layers so far; fields that are added to one are printed with it."""
        return [block for block in self._blocks if isinstance(block, Layer)]

    def comment(self, text: str) -> None:
        """Puts a comment before the next layer."""
        self._blocks.append(text)

    def to_text(self) -> str:
        """The net as prototxt text."""
        blocks = [_comment(self._header)] if self._header else []
        blocks.append(f"name: {_quoted(self._name)}")
        for block in self._blocks:
            blocks.append("\n" + _comment(block) if isinstance(block, str) else block.to_text())
        return "\n".join(blocks) + "\n"


def message_text(message: str, fields: Mapping[str, object], header: str = "") -> str:
    """The fields of any message of the schema as prototxt text, for example of a SolverParameter."""
    lines = [_comment(header)] if header else []
    return "\n".join([*lines, *_fields(fields, schema.descriptor(message), message, 0)]) + "\n"


@cache
def own_message(layer_type: str) -> str | None:
    """The LayerParameter field meant for a layer type, such as "pooling_param"; None if it has none."""
    if layer_type in OWN_MESSAGE:
        return OWN_MESSAGE[layer_type]
    for field in _layer_descriptor().fields:
        if field.message_type is not None and field.message_type.name == f"{layer_type}Parameter":
            return field.name
    return None


def _layer_descriptor() -> Descriptor:
    return schema.descriptor("LayerParameter")


def _message(name: str, fields: object, descriptor: Descriptor, where: str, depth: int) -> list[str]:
    """The lines of `name { ... }`."""
    if not isinstance(fields, Mapping):
        raise _wrong_value(name, fields, f"a dict with fields of {descriptor.name}", where)
    indent = "  " * depth
    inner = _fields(fields, descriptor, where, depth + 1)
    one_line = f"{indent}{name} {{ {' '.join(line.strip() for line in inner)} }}"
    if depth and len(one_line) <= WIDTH and not any(line.endswith(" }") for line in inner):
        return [one_line]
    return [f"{indent}{name} {{", *inner, f"{indent}}}"]


def _fields(fields: Mapping[str, object], descriptor: Descriptor, where: str, depth: int) -> list[str]:
    lines: list[str] = []
    for name, value in fields.items():
        field = descriptor.fields_by_name.get(name)
        if field is None:
            raise PrototxtError(
                f"{name} is not a field of {descriptor.name}",
                where=where,
                found=f"{name}={value!r}",
                expected=", ".join(descriptor.fields_by_name),
                advice="check the spelling, and the message that the field belongs to",
            )
        for item in _items(field, value, where):
            if field.message_type is not None:
                lines += _message(name, item, field.message_type, where, depth)
            else:
                lines.append(f"{'  ' * depth}{name}: {_scalar(field, item, where)}")
    return lines


def _items(field: FieldDescriptor, value: object, where: str) -> Sequence[object]:
    """The values of a field: a list for a repeated field, which may also be given as one value."""
    if not isinstance(value, list | tuple):
        return [value]
    if not schema.is_repeated(field):
        raise _wrong_value(field.name, value, "one value", where)
    return value


def _scalar(field: FieldDescriptor, value: object, where: str) -> str:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING and isinstance(value, str):
        return _quoted(value)
    if isinstance(value, str) and PLACEHOLDER.fullmatch(value):
        return value
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        names = [] if field.enum_type is None else [number.name for number in field.enum_type.values]
        if value in names:
            return str(value)
        raise _wrong_value(field.name, value, " or ".join(names), where)
    if isinstance(value, bool):
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return "true" if value else "false"
    elif isinstance(value, int):
        if kind in _FLOATS or kind in _INTEGERS or (kind in _UNSIGNED and value >= 0):
            return str(value)
    elif isinstance(value, float) and kind in _FLOATS:
        return re.sub(r"\.0$", "", repr(value))
    raise _wrong_value(field.name, value, _LABELS[kind], where)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _comment(text: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in text.strip().split("\n"))


def _wrong_value(name: str, found: object, expected: str, where: str) -> PrototxtError:
    return PrototxtError(
        f"{name} has a value of the wrong kind",
        where=where,
        found=repr(found),
        expected=f"{expected}, or a placeholder such as ${{NAME}}",
        advice="correct the value",
    )
