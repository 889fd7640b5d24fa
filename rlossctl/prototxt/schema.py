"""The messages of proto/rlossctl.proto, without generated code.

The compiled schema (compiled.py) is loaded into a private DescriptorPool, so that it works with every
protobuf runtime and never clashes with a caffe_pb2 in the same process.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

from rlossctl.prototxt.compiled import descriptor_set

PACKAGE = "rlossctl"


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in files():
        pool.Add(file)
    return pool


def files() -> Sequence[descriptor_pb2.FileDescriptorProto]:
    """The compiled files of the schema."""
    return descriptor_pb2.FileDescriptorSet.FromString(descriptor_set()).file


@cache
def message_class(name: str) -> type[Message]:
    """The class of the message `name`, for example "NetParameter"."""
    return class_of(descriptor(name), _pool())


def class_of(descriptor: Descriptor, pool: descriptor_pool.DescriptorPool) -> type[Message]:
    """The class of a message in a pool."""
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    factory: Any = message_factory.MessageFactory(pool)
    return factory.GetPrototype(descriptor)  # protobuf before 4.22


def descriptor(name: str) -> Descriptor:
    """The descriptor of the message `name`: its fields, numbers and defaults."""
    return _pool().FindMessageTypeByName(f"{PACKAGE}.{name}")


@cache
def enum(name: str) -> EnumTypeWrapper:
    """An enum outside all messages ("Phase"), with `Name(number)` and `Value(name)`."""
    return EnumTypeWrapper(_pool().FindEnumTypeByName(f"{PACKAGE}.{name}"))


def is_repeated(field: Any) -> bool:
    """Whether a field, given by its FieldDescriptor, holds a list."""
    if hasattr(field, "is_repeated"):
        return field.is_repeated
    return field.label == FieldDescriptor.LABEL_REPEATED  # protobuf before 6.31
