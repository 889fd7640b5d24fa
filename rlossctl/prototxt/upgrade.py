"""Brings nets of older Caffes to today's form, text and binary alike, as upgrade_proto.cpp does.

The steps, in Caffe's order: V0 layers (`layers { layer { type: "conv" } }`) become V1, and their padding
layers are merged into the layers that read them; transform fields of V1 data layers go to transform_param;
V1 layers (`layers { type: CONVOLUTION }`) become V2. `upgrade` does this for every net that is read.

BVLC then turns `input` fields into an Input layer and sets the rates of BatchNorm statistics to 0. Building a
net does not need these two steps (inputs are native here, and the BatchNorm layer knows the dialect's rule);
`modernize` does them for files that are rewritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from rlossctl.errors import PrototxtError
from rlossctl.prototxt.messages import LayerParameter, NetParameter, V0LayerParameter, V1LayerParameter

# V0 type -> V1 enum name; the other V0 types are the enum's names in lower case.
_V0_SPELLINGS = {
    "conv": "CONVOLUTION",
    "images": "IMAGE_DATA",
    "innerproduct": "INNER_PRODUCT",
    "pool": "POOLING",
}
_V0_TYPES = (
    *("accuracy", "bnll", "concat", "conv", "data", "dropout", "euclidean_loss", "flatten", "hdf5_data"),
    *("hdf5_output", "im2col", "images", "infogain_loss", "innerproduct", "lrn", "multinomial_logistic_loss"),
    *("pool", "relu", "sigmoid", "softmax", "softmax_loss", "split", "tanh", "window_data"),
)
# V1 enum name -> V2 type, if that is not the name in CamelCase.
_V1_SPELLINGS = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "LRN": "LRN",
    "MVN": "MVN",
    "RELU": "ReLU",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "TANH": "TanH",
    # Of forks.
    "BN": "BN",
    "DENSE_CRF": "DenseCRF",
    "ELU": "ELU",
    "PRELU": "PReLU",
    "ROI_POOLING": "ROIPooling",
    "SMOOTH_L1_LOSS": "SmoothL1Loss",
}

_CONV, _INNER = {"conv": "convolution_param"}, {"innerproduct": "inner_product_param"}
_POOL, _LRN, _WINDOW = {"pool": "pooling_param"}, {"lrn": "lrn_param"}, {"window_data": "window_data_param"}
_DATA, _IMAGES = {"data": "data_param"}, {"images": "image_data_param"}
_HDF5, _INFOGAIN = {"hdf5_data": "hdf5_data_param"}, {"infogain_loss": "infogain_loss_param"}

# V0 field -> ({V0 type: message of V1}, field there). A type that is not listed does not have the field.
_V0_FIELDS = {
    "num_output": (_CONV | _INNER, "num_output"),
    "biasterm": (_CONV | _INNER, "bias_term"),
    "weight_filler": (_CONV | _INNER, "weight_filler"),
    "bias_filler": (_CONV | _INNER, "bias_filler"),
    "pad": (_CONV | _POOL, "pad"),
    "kernelsize": (_CONV | _POOL, "kernel_size"),
    "group": (_CONV, "group"),
    "stride": (_CONV | _POOL, "stride"),
    "pool": (_POOL, "pool"),
    "dropout_ratio": ({"dropout": "dropout_param"}, "dropout_ratio"),
    "local_size": (_LRN, "local_size"),
    "alpha": (_LRN, "alpha"),
    "beta": (_LRN, "beta"),
    "k": (_LRN, "k"),
    "source": (_DATA | _HDF5 | _IMAGES | _WINDOW | _INFOGAIN, "source"),
    "batchsize": (_DATA | _HDF5 | _IMAGES | _WINDOW, "batch_size"),
    "rand_skip": (_DATA | _IMAGES, "rand_skip"),
    "shuffle_images": (_IMAGES, "shuffle"),
    "new_height": (_IMAGES, "new_height"),
    "new_width": (_IMAGES, "new_width"),
    "concat_dim": ({"concat": "concat_param"}, "concat_dim"),
    "det_fg_threshold": (_WINDOW, "fg_threshold"),
    "det_bg_threshold": (_WINDOW, "bg_threshold"),
    "det_fg_fraction": (_WINDOW, "fg_fraction"),
    "det_context_pad": (_WINDOW, "context_pad"),
    "det_crop_mode": (_WINDOW, "crop_mode"),
}
# V0 field -> field of transform_param, whatever the layer's type.
_V0_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
_V1_TRANSFORM = ("scale", "mean_file", "crop_size", "mirror")
_V1_DATA = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}


@dataclass(frozen=True)
class Upgraded:
    """A net in today's form.

    Attributes:
        param: the NetParameter; the given one if it needed no change.
        version: the version it was written in: "V0", "V1" or "V2".
        origin: for each layer, its index among the layers that were read.
        notes: sentences on what was left out (Caffe's own error messages for this are not fatal).
    """

    param: NetParameter
    version: str
    origin: tuple[int, ...]
    notes: tuple[str, ...] = ()


def camel_case(name: str) -> str:
    """The V2 type of a V1 enum name."""
    return _V1_SPELLINGS.get(name, "".join(part.capitalize() for part in name.split("_")))


def upgrade(net: NetParameter, where: str) -> Upgraded:
    """Brings V0 and V1 `layers` to V2; `input` fields do not change.

    Args:
        net: a NetParameter; not changed.
        where: the file, for errors.

    Raises:
        PrototxtError: `layer` and `layers` are mixed, a V0 type is unknown, a V0 bottom has no producer, or
            a padding layer feeds something other than a convolution or pooling layer (all fatal in Caffe).
    """
    if not net.layers:
        return Upgraded(net, "V2", tuple(range(len(net.layer))))
    if net.layer:
        raise PrototxtError(
            "has both `layer` and `layers` blocks, which belong to different versions",
            where=where,
            found=f"{len(net.layer)} `layer` and {len(net.layers)} `layers`",
            expected='either layer { type: "Convolution" } or layers { type: CONVOLUTION }',
            advice="rewrite the `layers` blocks in the new form",
        )
    layers, origin, version = list(net.layers), list(range(len(net.layers))), "V1"
    notes: list[str] = []
    if any(layer.HasField("layer") for layer in layers):
        version = "V0"
        layers, origin = _without_padding(net, where)
        layers = [_from_v0(layer, where, notes) for layer in layers]
    out = NetParameter()
    out.CopyFrom(net)
    del out.layers[:]
    for layer in layers:
        _from_v1(_with_transform(layer), out.layer.add())
    return Upgraded(out, version, tuple(origin), tuple(notes))


def modernize(net: NetParameter, dialect: str) -> NetParameter:
    """An upgraded net as the dialect's newest Caffe writes it; the argument is not changed.

    BVLC and ENet: `input` fields become one Input layer at the start (without shapes they are dropped, as in
    saved weights). BVLC: three `param` entries of a BatchNorm get lr_mult and decay_mult 0. The rloss and
    SegNet forks have no Input layer and keep `input`.
    """
    out = NetParameter()
    out.CopyFrom(net)
    if dialect in ("bvlc", "enet") and out.input:
        _input_layer(out)
    if dialect == "bvlc":
        for layer in out.layer:
            if layer.type == "BatchNorm" and len(layer.param) == 3:
                for spec in layer.param:
                    spec.lr_mult = spec.decay_mult = 0.0
    return out


def _input_layer(net: NetParameter) -> None:
    shapes = [list(shape.dim) for shape in net.input_shape]
    if not shapes:
        dims = list(net.input_dim)
        shapes = [dims[index : index + 4] for index in range(0, len(dims), 4)]
    names, layers = list(net.input), list(net.layer)
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)
    if not shapes:
        return
    del net.layer[:]
    first = net.layer.add(name="input", type="Input", top=names)
    for dims in shapes:
        first.input_param.shape.add(dim=dims)
    net.layer.extend(layers)


def _without_padding(net: NetParameter, where: str) -> tuple[list[V1LayerParameter], list[int]]:
    """V0 layers, with padding layers merged into the `pad` of their readers, and their indices in the net."""
    producer: dict[str, int | None] = dict.fromkeys(net.input)
    kept, origin = [], []
    for index, old in enumerate(net.layers):
        layer = V1LayerParameter()
        layer.CopyFrom(old)
        if old.layer.type != "padding":
            kept.append(layer)
            origin.append(index)
        for position, bottom in enumerate(old.bottom):
            if bottom not in producer:
                raise _v0_error(old, where, f"bottom {bottom!r} is not a top of any earlier layer", bottom)
            source = producer[bottom]
            if source is not None and net.layers[source].layer.type == "padding":
                padding = net.layers[source]
                _check_padding(old, padding, where)
                layer.layer.pad = padding.layer.pad
                layer.bottom[position] = padding.bottom[0]
        producer.update(dict.fromkeys(old.top, index))
    return kept, origin


def _check_padding(layer: V1LayerParameter, padding: V1LayerParameter, where: str) -> None:
    if layer.layer.type not in ("conv", "pool") or len(layer.bottom) != 1:
        raise _v0_error(
            layer,
            where,
            f"reads the padding layer {padding.layer.name!r}",
            f"type {layer.layer.type!r} with {len(layer.bottom)} bottoms",
            "a conv or pool layer with one bottom",
        )
    if len(padding.bottom) != 1 or len(padding.top) != 1:
        found = f"{len(padding.bottom)} bottoms, {len(padding.top)} tops"
        raise _v0_error(padding, where, "a padding layer has one bottom and one top", found)


def _from_v0(connection: V1LayerParameter, where: str, notes: list[str]) -> V1LayerParameter:
    """A V1 layer made from the V0 layer inside it; the fields around the V0 layer are kept."""
    old = connection.layer
    if not connection.HasField("layer") or (old.HasField("type") and old.type not in _V0_TYPES):
        found = f"type {old.type!r}" if connection.HasField("layer") else "`layers` without `layer` inside"
        raise _v0_error(connection, where, "has no V0 layer type", found, f"one of {', '.join(_V0_TYPES)}")
    new = V1LayerParameter()
    new.CopyFrom(connection)
    new.ClearField("layer")
    if old.HasField("name"):
        new.name = old.name
    if old.HasField("type"):
        new.type = V1LayerParameter.LayerType.Value(_V0_SPELLINGS.get(old.type, old.type.upper()))
    new.blobs.extend(old.blobs)
    new.blobs_lr.extend(old.blobs_lr)
    new.weight_decay.extend(old.weight_decay)
    for field, (messages, name) in _V0_FIELDS.items():
        if not old.HasField(field):
            continue
        if old.type in messages:
            _put(getattr(new, messages[old.type]), name, getattr(old, field))
        else:
            notes.append(_meaningless(old, field))
    for field, name in _V0_TRANSFORM.items():
        if old.HasField(field):
            setattr(new.transform_param, name, getattr(old, field))
    if old.HasField("hdf5_output_param"):
        if old.type == "hdf5_output":
            new.hdf5_output_param.MergeFrom(old.hdf5_output_param)
        else:
            notes.append(_meaningless(old, "hdf5_output_param"))
    return new


def _meaningless(layer: V0LayerParameter, field: str) -> str:
    return f"layer {layer.name!r}: {field} has no meaning for type {layer.type}; left out, as in Caffe"


def _put(message: Message, name: str, value: object) -> None:
    """Sets a field, whether it is single, repeated or a message."""
    field = getattr(message, name)
    if hasattr(field, "append"):
        field.append(value)
    elif isinstance(value, Message):
        field.CopyFrom(value)
    else:
        setattr(message, name, value)


def _with_transform(layer: V1LayerParameter) -> V1LayerParameter:
    """Moves scale, mean_file, crop_size and mirror of V1's three data layers to transform_param."""
    name = _V1_DATA.get(V1LayerParameter.LayerType.Name(layer.type))
    if name is None or not layer.HasField(name):
        return layer
    fields = [field for field in _V1_TRANSFORM if getattr(layer, name).HasField(field)]
    if not fields:
        return layer
    new = V1LayerParameter()
    new.CopyFrom(layer)
    param = getattr(new, name)
    for field in fields:
        setattr(new.transform_param, field, getattr(param, field))
        param.ClearField(field)
    return new


def _from_v1(old: V1LayerParameter, new: LayerParameter) -> None:
    """Fills a LayerParameter from a V1LayerParameter: fields with the same name have the same type."""
    if old.HasField("type"):
        new.type = camel_case(V1LayerParameter.LayerType.Name(old.type))
    targets = new.DESCRIPTOR.fields_by_name
    for field, value in old.ListFields():
        if field.name in ("type", "param") or field.name not in targets:
            continue
        target = getattr(new, field.name)
        if isinstance(value, Message):
            target.CopyFrom(value)
        elif hasattr(target, "extend"):
            target.extend(value)
        else:
            setattr(new, field.name, value)
    specs: dict[str, Sequence[object]] = {
        "name": old.param,
        "share_mode": old.blob_share_mode,
        "lr_mult": old.blobs_lr,
        "decay_mult": old.weight_decay,
    }
    for name, values in specs.items():
        for index, value in enumerate(values):
            while len(new.param) <= index:
                new.param.add()
            setattr(new.param[index], name, value)
    if new.type == "Crop" and not new.HasField("crop_param"):
        # BVLC's V1 has no CROP; the branches that have it (FCN, HED, CRF-as-RNN) have no offset.
        new.crop_param.by_coordinates = True


def _v0_error(
    layer: V1LayerParameter, where: str, message: str, found: object, expected: str | None = None
) -> PrototxtError:
    name = layer.layer.name or layer.name
    return PrototxtError(
        f"layer {name!r} of a V0 net: {message}",
        where=where,
        found=found,
        expected=expected,
        advice="correct the layer; Caffe cannot upgrade this net either",
    )
