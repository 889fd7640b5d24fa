"""Messages of a private fork, added to the schema before the first net is read.

    declare("message GhostParameter { optional uint32 ratio = 1 [default = 2]; }", ghost_param=7501)

The text is what the fork's caffe.proto says, and the number is that of its field in LayerParameter, so that
prototxts and binary caffemodels of the fork can be read.
"""

from __future__ import annotations

import re

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from rlossctl.errors import PrototxtError

_MESSAGE = re.compile(r"message\s+(\w+)\s*\{([^{}]*)\}\s*")
_FIELD = re.compile(
    r"(optional|required|repeated)\s+(\w+)\s+(\w+)\s*=\s*(\d+)\s*(?:\[([^\]]*)\])?\s*;\s*", re.ASCII
)
_COMMENT = re.compile(r"//[^\n]*")
_SCALARS = ("double", "float", "int32", "int64", "uint32", "uint64", "bool", "string")

_declared: list[tuple[DescriptorProto, dict[str, int]]] = []
_closed: list[bool] = []


def declare(text: str, **fields: int) -> None:
    """Adds messages to the schema, and fields of LayerParameter that hold them.

    Args:
        text: `message NAME { optional TYPE NAME = NUMBER [default = VALUE]; ... }`, one or more; types are
            numbers, bool, string, and FillerParameter.
        fields: a name that ends in `_param` and its number, for each message in order.

    Raises:
        PrototxtError: the text cannot be read, or a net has already been read.
    """
    if _closed:
        raise PrototxtError(
            "fields cannot be declared any more",
            found=", ".join(fields),
            expected="a declaration before other modules of rlossctl are imported and nets are read",
            advice="call declare first in the plugin, and load the plugin first",
        )
    messages = _parse(text)
    if len(messages) != len(fields):
        raise PrototxtError(
            "needs a field of LayerParameter for every message",
            found=f"{', '.join(message.name for message in messages)} and {', '.join(fields)}",
        )
    for message, (name, number) in zip(messages, fields.items(), strict=True):
        _declared.append((message, {name: number}))


def close(file: FileDescriptorProto) -> None:
    """Puts everything declared into the schema's file; nothing can be declared later."""
    _closed.append(True)
    (layer,) = [message for message in file.message_type if message.name == "LayerParameter"]
    for message, fields in _declared:
        _refuse_taken(file, layer, message, fields)
        file.message_type.add().CopyFrom(message)
        for name, number in fields.items():
            layer.field.add(
                name=name,
                number=number,
                label=FieldDescriptorProto.LABEL_OPTIONAL,
                type=FieldDescriptorProto.TYPE_MESSAGE,
                type_name=f".{file.package}.{message.name}",
            )


def _refuse_taken(
    file: FileDescriptorProto, layer: DescriptorProto, message: DescriptorProto, fields: dict[str, int]
) -> None:
    names = {known.name for known in file.message_type} & {message.name}
    names |= {field.name for field in layer.field} & set(fields)
    numbers = {field.number: field.name for field in layer.field}
    clashes = [f"{number} (of {numbers[number]})" for number in fields.values() if number in numbers]
    if names or clashes:
        raise PrototxtError(
            "a plugin declares what the schema already has",
            found=", ".join([*sorted(names), *clashes]),
            expected="a message, a field and a number of its own",
            advice="rename it; if only the number is taken, choose a free one above 20000 (the field of the "
            "fork's binary caffemodels is then not read)",
        )


def _parse(text: str) -> list[DescriptorProto]:
    text = _COMMENT.sub("", text).strip()
    messages, at = [], 0
    while at < len(text):
        match = _MESSAGE.match(text, at)
        if match is None:
            raise _unreadable(text[at:])
        messages.append(_message(match[1], match[2].strip()))
        at = match.end()
    return messages


def _message(name: str, body: str) -> DescriptorProto:
    message, at = descriptor_pb2.DescriptorProto(name=name), 0
    while at < len(body):
        match = _FIELD.match(body, at)
        if match is None:
            raise _unreadable(body[at:])
        label, kind, field, number, options = match.groups()
        added = message.field.add(name=field, number=int(number))
        added.label = FieldDescriptorProto.Label.Value(f"LABEL_{label.upper()}")
        if kind in _SCALARS:
            added.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
        else:
            added.type, added.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".rlossctl.{kind}"
        default = re.search(r"\bdefault\s*=\s*([^,\]]+)", options or "")
        if default:
            added.default_value = default[1].strip().strip("\"'")
        at = match.end()
    return message


def _unreadable(text: str) -> PrototxtError:
    return PrototxtError(
        "a plugin's declaration cannot be read",
        found=text.strip().split("\n")[0][:80],
        expected="message NAME { optional TYPE NAME = NUMBER [default = VALUE]; ... }",
        advice="write enums as strings or numbers",
    )
