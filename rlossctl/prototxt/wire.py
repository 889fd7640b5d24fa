"""Translates between the private field numbers of our schema and the numbers that each fork writes.

Our LayerParameter has the fields of all forks, so conflicting fields have private numbers. The layer's type
and the dialect decide the translation: on writing, a private number becomes the fork's; on reading, the
fork's number becomes ours if the layer's type shows that the fork's field is meant.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError, Message

from rlossctl.errors import PrototxtError
from rlossctl.prototxt import dialect as dialects
from rlossctl.prototxt.messages import ConvolutionParameter, LayerParameter, NetParameter

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

# Layers that many forks share, with the numbers of the forks they come from.
_SHARED = {
    "ShuffleChannel": {164: 20164},
    "Permute": {202: 20202},
    "Normalize": {206: 20206},
    "PixelShuffle": {888: 20888},
    "ReLU6": {100000: 21000},
    "PriorBox": {203: 20203},
    "DetectionOutput": {204: 20204},
    # If a fork changed its number, the last one is written.
    "ROIPooling": {8266711: 20147, 150: 20147, 147: 20147},
    "SmoothL1Loss": {8266712: 20148, 148: 20148},
    "PSROIPooling": {149: 20149},
    "CenterLoss": {147: 20162},
    "SeLu": {161: 20161},
}
# PSPNet's BN has its own number for bn_param; its fields use the numbers of SegNet's fields.
_PSPNET_BN, _BN_PARAM = 137, 45
_PSPNET_BN_FIELDS = {number: 20000 + number for number in range(1, 7)}
# In ConvolutionParameter: DeepLab v1's hole, hole_h and hole_w; 17 is BVLC's force_nd_im2col, a bool, 18 its
# dilation, and 19 NVCaffe's choice of a kernel, 0 or 1.
_CONVOLUTION_PARAM, _HOLE, _HOLE_H, _HOLE_W = 106, 17, 18, 19
_WITH_HOLES = ("Convolution", "Deconvolution", "Im2col")
_OURS = 20000  # added to a fork's number

_LOSS_PARAM = 101
# In LossParameter: 3 is SegNet's and ENet's weight_by_label_freqs, 5 ENet's normalization (BVLC's 3).
_SEGNET_LOSS = {3: 10003}
_ENET_LOSS = {3: 10003, 5: 3}
_LAYER = 100  # in NetParameter


def encode_layer(layer: LayerParameter, dialect: str) -> bytes:
    """A LayerParameter as the dialect's own Caffe would serialize it (fields in ascending order)."""
    to_fork = {ours: fork for fork, ours in _layer_numbers(layer.type, dialect).items()}
    loss = {ours: fork for fork, ours in _loss_numbers(dialect).items()}
    data = _renumber(layer.SerializeToString(deterministic=True), to_fork, loss)
    if layer.type == "BN" and dialects.four_blobs(layer):
        data = _renumber(data, {_BN_PARAM: _PSPNET_BN}, {})
        return _within(data, _PSPNET_BN, {ours: fork for fork, ours in _PSPNET_BN_FIELDS.items()})
    holes = _holes(layer.convolution_param)
    return _within(data, _CONVOLUTION_PARAM, {_OURS + fork: fork for fork in holes}) if holes else data


def decode_layer(data: bytes, layer_type: str, dialect: str) -> LayerParameter:
    """A serialized LayerParameter of a dialect as a message of our schema."""
    if layer_type == "BN":
        data = _renumber(_within(data, _PSPNET_BN, _PSPNET_BN_FIELDS), {_PSPNET_BN: _BN_PARAM}, {})
    holes = _holes_on_wire(data) if layer_type in _WITH_HOLES else ()
    if holes:
        data = _within(data, _CONVOLUTION_PARAM, {fork: _OURS + fork for fork in holes})
    encoded = _renumber(data, _layer_numbers(layer_type, dialect), _loss_numbers(dialect))
    return LayerParameter.FromString(encoded)


def _holes(param: ConvolutionParameter) -> tuple[int, ...]:
    """DeepLab v1's numbers that a reader can distinguish from BVLC's; 1, the default, it cannot."""
    if param.hole > 1:
        return (_HOLE,)
    return (_HOLE_H, _HOLE_W) if param.hole_w > 1 else ()


def _holes_on_wire(data: bytes) -> tuple[int, ...]:
    """The same for a serialized LayerParameter: numbers that cannot be a bool or a choice of two."""
    for number, wire_type, payload in _fields(data):
        if (number, wire_type) == (_CONVOLUTION_PARAM, 2):
            inner = {n: _varint(p, 0)[0] for n, w, p in _fields(_content(payload)) if w == 0}
            if inner.get(_HOLE, 0) > 1:
                return (_HOLE,)
            return (_HOLE_H, _HOLE_W) if inner.get(_HOLE_W, 0) > 1 else ()
    return ()


def _within(data: bytes, field: int, numbers: dict[int, int]) -> bytes:
    """A serialized message with the numbers changed inside one of its messages."""
    fields = []
    for number, wire_type, payload in _fields(data):
        if number == field and wire_type == 2:
            inner = _renumber(_content(payload), numbers, {})
            payload = _encode_varint(len(inner)) + inner
        fields.append(_field(number, wire_type, payload))
    return b"".join(fields)


def decode_net(data: bytes, where: str, dialect: str = "auto") -> tuple[NetParameter, str, str]:
    """A serialized NetParameter (a caffemodel, with or without its blobs) of any age and fork.

    Returns:
        The message as it was written (see `upgrade` for old layers), its dialect, and how that is known:
        beside the evidence of `dialect.detect`, ENet's own field numbers show here.

    Raises:
        PrototxtError: the bytes are not a NetParameter.
    """
    try:
        fields = _fields(data)
        layers = [_content(payload) for number, _, payload in fields if number == _LAYER]
        net = NetParameter.FromString(
            b"".join(_field(number, wire, payload) for number, wire, payload in fields if number != _LAYER)
        )
        types = [_type(layer) for layer in layers]
        chosen, reason = dialect, ""
        if dialect == "auto":
            marked = next((mark for mark in map(_enet_mark, types, layers) if mark), "")
            chosen, reason = ("enet", marked) if marked else ("segnet", "")
        for layer, kind in zip(layers, types, strict=True):
            net.layer.append(decode_layer(layer, kind, chosen))
        _check_strings(net)
        if not reason:
            name, reason = dialects.choose(net, dialect)
            if name != chosen:
                return decode_net(data, where, name)[0], name, reason
        return net, chosen, reason
    except (DecodeError, UnicodeDecodeError, _Damaged) as error:
        raise PrototxtError(
            "is not a binary NetParameter",
            where=where,
            found=str(error),
            expected="a net as Caffe writes it into a caffemodel",
            advice="download or write the file again",
        ) from error


def encode_net(net: NetParameter, dialect: str) -> bytes:
    """A NetParameter as the dialect's Caffe would serialize it."""
    rest = NetParameter()
    rest.CopyFrom(net)
    del rest.layer[:]
    layers = (encode_layer(layer, dialect) for layer in net.layer)
    return rest.SerializeToString(deterministic=True) + b"".join(
        _field(_LAYER, 2, _encode_varint(len(layer)) + layer) for layer in layers
    )


class _Damaged(ValueError):
    """The bytes are not a protobuf message."""


def _check_strings(message: Message) -> None:
    """Refuses strings that are not UTF-8: protobuf returns them as bytes, or fails when they are read."""
    for field, value in message.ListFields():
        single = isinstance(value, str | bytes | Message)
        if field.type == field.TYPE_STRING:
            for text in (value,) if single else value:
                if isinstance(text, bytes):
                    raise _Damaged(f"{field.name} is not UTF-8: {text[:40]!r}")
        elif field.message_type is not None and field.message_type.name != "BlobProto":
            for inner in (value,) if single else value:
                _check_strings(inner)


def _type(layer: bytes) -> str:
    """The type string of a serialized LayerParameter."""
    return next(
        (_content(p).decode("utf-8", "replace") for n, w, p in _fields(layer) if (n, w) == (2, 2)), ""
    )


def _enet_mark(kind: str, layer: bytes) -> str:
    """The evidence that ENet's fork wrote the layer: its number for the type's own message; "" if none."""
    for theirs in _ENET.get(kind, ()):
        if any(number == theirs for number, _, _ in _fields(layer)):
            return f"a layer of type {kind} has field {theirs}, which is ENet's number"
    return ""


def _layer_numbers(layer_type: str, dialect: str) -> dict[int, int]:
    tables = {"segnet": _SEGNET, "enet": _ENET}
    return tables.get(dialect, {}).get(layer_type) or {**_RLOSS, **_SHARED}.get(layer_type, {})


def _loss_numbers(dialect: str) -> dict[int, int]:
    if dialect == "segnet":
        return _SEGNET_LOSS
    if dialect == "enet":
        return _ENET_LOSS
    return {}


def _renumber(data: bytes, layer: dict[int, int], loss: dict[int, int]) -> bytes:
    if not layer and not loss:
        return data
    fields = []
    for number, wire_type, payload in _fields(data):
        if number == _LOSS_PARAM and wire_type == 2 and loss:
            inner = _renumber(_content(payload), loss, {})
            payload = _encode_varint(len(inner)) + inner
        fields.append((layer.get(number, number), wire_type, payload))
    fields.sort(key=lambda field: field[0])
    return b"".join(_field(*field) for field in fields)


def _field(number: int, wire_type: int, payload: bytes) -> bytes:
    return _encode_varint(number << 3 | wire_type) + payload


def _content(payload: bytes) -> bytes:
    """A length-delimited payload, without its length."""
    return payload[_varint(payload, 0)[1] :]


def _fields(data: bytes) -> list[tuple[int, int, bytes]]:
    """(number, wire type, payload with its length prefix) of each field."""
    fields, position = [], 0
    while position < len(data):
        at = position
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            end = _varint(data, position)[1]
        elif wire_type == 2:
            length, start = _varint(data, position)
            end = start + length
        elif wire_type in (1, 5):
            end = position + (8 if wire_type == 1 else 4)
        else:
            raise _Damaged(f"field {number} of wire type {wire_type} at byte {at}")
        if end > len(data):
            raise _Damaged(f"field {number} at byte {at} ends at {end}, beyond its message of {len(data)}")
        fields.append((number, wire_type, data[position:end]))
        position = end
    return fields


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
    raise _Damaged(f"a number that does not end, at byte {position}")


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
