"""An independent reader: protobuf's own, on a descriptor made here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

TYPES = descriptor_pb2.FieldDescriptorProto
KINDS = {
    "int32": TYPES.TYPE_INT32,
    "int64": TYPES.TYPE_INT64,
    "float": TYPES.TYPE_FLOAT,
    "double": TYPES.TYPE_DOUBLE,
    "string": TYPES.TYPE_STRING,
}
BLOB = "1 num int32;2 channels int32;3 height int32;4 width int32;7 shape BlobShape;"
MESSAGES = {
    "BlobShape": "1 dim int64 packed",
    "BlobProto": BLOB + "5 data float packed;6 diff float packed;8 double_data double packed",
    "LooseBlob": BLOB + "5 data float unpacked;6 diff float unpacked;8 double_data double unpacked",
    "LayerParameter": "1 name string;2 type string;3 bottom string list;7 blobs BlobProto list;"
    "10 phase int32;888 pixel_shuffle string",
    "V0LayerParameter": "1 name string;2 type string;3 num_output int32;50 blobs BlobProto list",
    "V1LayerParameter": "1 layer V0LayerParameter;2 bottom string list;4 name string;5 type int32;"
    "6 blobs BlobProto list",
    "NetParameter": "1 name string;2 layers V1LayerParameter list;3 input string list;"
    "100 layer LayerParameter list",
    "LooseLayer": "1 name string;7 blobs LooseBlob list",
    "LooseNet": "100 layer LooseLayer list",
    "SolverState": "1 iter int32;2 learned_net string;3 history BlobProto list;4 current_step int32",
}


@pytest.fixture(scope="session")
def proto() -> SimpleNamespace:
    """Message classes by name; LooseNet is a NetParameter whose values are not packed."""
    file = descriptor_pb2.FileDescriptorProto(name="oracle.proto", package="oracle", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for entry in fields.split(";"):
            number, field_name, kind, *how = entry.split()
            field = message.field.add(name=field_name, number=int(number))
            field.label = TYPES.LABEL_REPEATED if how else TYPES.LABEL_OPTIONAL
            if kind in KINDS:
                field.type = KINDS[kind]
            else:
                field.type, field.type_name = TYPES.TYPE_MESSAGE, f".oracle.{kind}"
            if how in (["packed"], ["unpacked"]):
                field.options.packed = how == ["packed"]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"oracle.{name}"))
        for name in MESSAGES
    }
    return SimpleNamespace(**classes)
