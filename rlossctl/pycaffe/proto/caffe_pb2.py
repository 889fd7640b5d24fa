"""caffe.proto.caffe_pb2: the messages and enums of our schema under Caffe's names, for any protobuf runtime.

They are built in a pool of their own, as package `caffe`: a real caffe_pb2 in the same process is not in the
way. Fields of forks and of ours are there, too. LayerParameter has the LayerType of 2014, which later
moved to V1LayerParameter.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool

from rlossctl.prototxt import schema

PACKAGE = "caffe"


def _file() -> descriptor_pb2.FileDescriptorProto:
    """The schema with its package renamed."""
    found = descriptor_pb2.FileDescriptorProto()
    found.CopyFrom(schema.files()[0])
    found.name, found.package = "caffe.proto", PACKAGE
    for message in found.message_type:
        _rename(message)
    layers = {message.name: message for message in found.message_type}
    layers["LayerParameter"].enum_type.extend(
        kind for kind in layers["V1LayerParameter"].enum_type if kind.name == "LayerType"
    )
    return found


def _rename(message: descriptor_pb2.DescriptorProto) -> None:
    for field in message.field:
        if field.type_name:
            field.type_name = field.type_name.replace(f".{schema.PACKAGE}.", f".{PACKAGE}.", 1)
    for inner in message.nested_type:
        _rename(inner)


def _names() -> dict[str, Any]:
    """Every class, enum and enum value, as protoc's module has them."""
    pool, file = descriptor_pool.DescriptorPool(), _file()
    pool.Add(file)
    found: dict[str, Any] = {"DESCRIPTOR": pool.FindFileByName(file.name)}
    for message in file.message_type:
        found[message.name] = schema.class_of(pool.FindMessageTypeByName(f"{PACKAGE}.{message.name}"), pool)
    for kind in file.enum_type:
        found[kind.name] = schema.EnumTypeWrapper(pool.FindEnumTypeByName(f"{PACKAGE}.{kind.name}"))
        found.update((value.name, value.number) for value in kind.value)
    return found


globals().update(_names())


def __getattr__(name: str) -> Any:  # for type checkers: what `_names` has put here is found without it
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
