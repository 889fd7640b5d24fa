"""Between the private field numbers of our schema and the numbers that each fork writes.

One LayerParameter of ours holds the fields of all forks, so the conflicting ones have private numbers.
A binary layer is translated by its type and dialect: on writing, a private number becomes the fork's;
on reading, the fork's number becomes ours where the layer's type says that the fork's field is meant.
"""

from __future__ import annotations

from google.protobuf.message import Message

from rlossctl.prototxt import schema

# (dialect, layer type) -> {fork's number: our number} in LayerParameter
_RLOSS = {
    "Interp": {143: 10143},
    "SegAccuracy": {144: 10144},
    "MatWrite": {145: 10145},
    "DenseCRF": {146: 10146},
    "DomainTransform": {147: 10147},
    "DomainTransformForwardOnly": {147: 10147},
    "AdaptiveBiasChannel": {148: 10148},
}
_SEGNET = {"Upsample": {137: 10137}, "DenseImageData": {138: 10138}}
_ENET = {"Upsample": {147: 10137}, "DenseImageData": {46: 10138}}

# Layers that many forks share; the numbers are those of the forks they come from.
_SHARED = {
    "ShuffleChannel": {164: 20164},
    "Permute": {202: 20202},
    "Normalize": {206: 20206},
    "PixelShuffle": {888: 20888},
    "ReLU6": {100000: 21000},
}

_LOSS_PARAM = 101
_LOSS_LAYERS_WITH_FREQUENCIES = {
    3: 10003
}  # SegNet and ENet: 3 is weight_by_label_freqs, BVLC's normalization
_ENET_NORMALIZATION = {5: 3}


def encode_layer(layer: Message, dialect: str) -> bytes:
    """A LayerParameter as the dialect's own Caffe would serialize it (fields in ascending order)."""
    to_fork = {ours: fork for fork, ours in _layer_numbers(layer.type, dialect).items()}
    loss = {ours: fork for fork, ours in _loss_numbers(dialect).items()}
    return _renumber(layer.SerializeToString(deterministic=True), to_fork, loss)


def decode_layer(data: bytes, layer_type: str, dialect: str) -> Message:
    """A serialized LayerParameter of a dialect as a message of our schema."""
    encoded = _renumber(data, _layer_numbers(layer_type, dialect), _loss_numbers(dialect))
    return schema.message_class("LayerParameter").FromString(encoded)


def _layer_numbers(layer_type: str, dialect: str) -> dict[int, int]:
    tables = {"segnet": _SEGNET, "enet": _ENET}
    return tables.get(dialect, {}).get(layer_type) or {**_RLOSS, **_SHARED}.get(layer_type, {})


def _loss_numbers(dialect: str) -> dict[int, int]:
    if dialect == "segnet":
        return _LOSS_LAYERS_WITH_FREQUENCIES
    if dialect == "enet":
        return {**_LOSS_LAYERS_WITH_FREQUENCIES, **_ENET_NORMALIZATION}
    return {}


def _renumber(data: bytes, layer: dict[int, int], loss: dict[int, int]) -> bytes:
    if not layer and not loss:
        return data
    fields = []
    for number, wire_type, payload in _fields(data):
        if number == _LOSS_PARAM and loss:
            length, start = _varint(payload, 0)
            inner = _renumber(payload[start : start + length], loss, {})
            payload = _encode_varint(len(inner)) + inner
        fields.append((layer.get(number, number), wire_type, payload))
    fields.sort(key=lambda field: field[0])
    return b"".join(_encode_varint(number << 3 | wire) + payload for number, wire, payload in fields)


def _fields(data: bytes) -> list[tuple[int, int, bytes]]:
    """(number, wire type, payload with its length prefix) of each field; `data` is a valid message."""
    fields, position = [], 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            end = _varint(data, position)[1]
        elif wire_type == 2:
            length, start = _varint(data, position)
            end = start + length
        else:
            end = position + (8 if wire_type == 1 else 4)
        fields.append((number, wire_type, data[position:end]))
        position = end
    return fields


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
