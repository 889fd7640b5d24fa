"""Writes rlossctl/prototxt/messages.pyi, the types of the schema's messages, from the compiled schema.

`python proto/stub.py`, after each change of rlossctl.proto; a test checks that the file is current.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from keyword import iskeyword
from pathlib import Path

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from rlossctl.prototxt import schema

STUB = Path(__file__).resolve().parent.parent / "rlossctl" / "prototxt" / "messages.pyi"

HEAD = """\
# Written by proto/stub.py from proto/rlossctl.proto: do not change it here.
from typing import type_check_only

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer as _Messages
from google.protobuf.internal.containers import RepeatedScalarFieldContainer as _Values
from google.protobuf.message import Message
from typing_extensions import Self

@type_check_only
class _Enum(int):
    @classmethod
    def Name(cls, number: int) -> str: ...
    @classmethod
    def Value(cls, name: str) -> Self: ...
    @classmethod
    def keys(cls) -> list[str]: ...
    @classmethod
    def values(cls) -> list[Self]: ...
    @classmethod
    def items(cls) -> list[tuple[str, Self]]: ...
"""

_TYPES = {
    FieldDescriptor.CPPTYPE_BOOL: "bool",
    FieldDescriptor.CPPTYPE_DOUBLE: "float",
    FieldDescriptor.CPPTYPE_FLOAT: "float",
    FieldDescriptor.CPPTYPE_INT32: "int",
    FieldDescriptor.CPPTYPE_INT64: "int",
    FieldDescriptor.CPPTYPE_UINT32: "int",
    FieldDescriptor.CPPTYPE_UINT64: "int",
}


def text() -> str:
    """The stub of every enum and message, in the schema's order."""
    file = schema.descriptor("NetParameter").file
    enums = map(_enum, file.enum_types_by_name.values())
    return "\n".join([HEAD, *enums, *map(_message, file.message_types_by_name.values())])


def _message(message: Descriptor) -> str:
    lines = [f"class {message.name}(Message):"]
    for enum in message.enum_types:
        lines += [*_indented(_enum(enum).splitlines()), ""]
        lines += _indented(f"{value.name}: {enum.name}" for value in enum.values)
    # A field called like a word of Python (lambda) is reached by getattr alone.
    fields = [field for field in message.fields if not iskeyword(field.name)]
    lines += _indented(f"{field.name}: {_field_type(field)}" for field in fields)
    return "\n".join(lines if len(lines) > 1 else [f"{lines[0]} ..."]) + "\n"


def _enum(enum: EnumDescriptor) -> str:
    lines = [f"class {enum.name}(_Enum):"]
    lines += _indented(f"{value.name}: {_full_name(enum)}" for value in enum.values)
    return "\n".join(lines) + "\n"


def _field_type(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        one, many = _full_name(field.message_type), "_Messages"
    elif field.enum_type is not None:
        one, many = _full_name(field.enum_type), "_Values"
    elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:  # bytes share its C++ type
        one, many = "bytes" if field.type == FieldDescriptor.TYPE_BYTES else "str", "_Values"
    else:
        one, many = _TYPES[field.cpp_type], "_Values"
    return f"{many}[{one}]" if schema.is_repeated(field) else one


def _full_name(kind: Descriptor | EnumDescriptor) -> str:
    return kind.full_name.removeprefix(f"{schema.PACKAGE}.")


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


if __name__ == "__main__":
    STUB.write_text(text(), encoding="utf-8")
