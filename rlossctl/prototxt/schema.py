"""The messages of proto/rlossctl.proto, without generated code.

The schema is compiled to a FileDescriptorSet when the package is built and loaded into a private
DescriptorPool, so that it works with every protobuf runtime and never clashes with a caffe_pb2 that
the same process may hold.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

from rlossctl.errors import RlossError

PACKAGE = "rlossctl"


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    try:
        data = resources.files("rlossctl.prototxt").joinpath("schema.desc").read_bytes()
    except FileNotFoundError as error:
        raise RlossError(
            "the compiled schema is missing from the installation",
            where="rlossctl/prototxt/schema.desc",
            expected="a file made from proto/rlossctl.proto when the package is built",
            advice="install the package: pip install . (or make venv in a checkout)",
        ) from error
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return pool


@cache
def message_class(name: str) -> type[Message]:
    """The class of message `name`, for example "NetParameter"."""
    descriptor = _pool().FindMessageTypeByName(f"{PACKAGE}.{name}")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(_pool()).GetPrototype(descriptor)  # protobuf before 4.22


def message(name: str) -> Message:
    """An empty message `name`."""
    return message_class(name)()


def descriptor(name: str) -> Descriptor:
    """The descriptor of message `name`: its fields, numbers and defaults."""
    return message_class(name).DESCRIPTOR


@cache
def enum(name: str) -> EnumTypeWrapper:
    """An enum that belongs to no message ("Phase"), with `Name(number)` and `Value(name)`."""
    return EnumTypeWrapper(_pool().FindEnumTypeByName(f"{PACKAGE}.{name}"))


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether a field holds a list."""
    if hasattr(field, "is_repeated"):
        return field.is_repeated
    return field.label == FieldDescriptor.LABEL_REPEATED  # protobuf before 6.31


def phase_name(number: int) -> str:
    """ "TRAIN" or "TEST" for the value of a Phase field."""
    return "TRAIN" if number == 0 else "TEST"


def phase_number(name: str) -> int:
    """The value of a Phase field for "TRAIN" or "TEST" (any case)."""
    try:
        return {"TRAIN": 0, "TEST": 1}[name.upper()]
    except KeyError:
        raise RlossError("unknown phase", found=name, expected="TRAIN or TEST") from None
