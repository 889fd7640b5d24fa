"""Turning a net's layers into the boxes of a drawing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rlossctl.net.draft import Draft
    from rlossctl.net.sharing import Kind
    from rlossctl.prototxt.messages import LayerParameter

# The few fields that distinguish layers of one type: message, field, format.
NOTED = (
    ("convolution_param", "num_output", "{}"),
    ("convolution_param", "kernel_size", "k{}"),
    ("convolution_param", "stride", "s{}"),
    ("convolution_param", "dilation", "d{}"),
    ("convolution_param", "group", "g{}"),
    ("inner_product_param", "num_output", "{}"),
    ("pooling_param", "pool", "{}"),
    ("pooling_param", "kernel_size", "k{}"),
    ("pooling_param", "stride", "s{}"),
    ("pooling_param", "global_pooling", "global"),
    ("eltwise_param", "operation", "{}"),
    ("interp_param", "zoom_factor", "x{}"),
    ("interp_param", "shrink_factor", "/{}"),
    ("dropout_param", "dropout_ratio", "{:g}"),
)


@dataclass
class Box:
    """One box of the drawing.

    Attributes:
        title: the first layer's name.
        kinds: types with their most important fields, one line for each layer in the box.
        shape: shape of the box's first top, as text.
        role: "data", "layer", "loss" or "metric"; it decides the colour.
        sources: indices of the boxes from which this one reads, each smaller than its own index.
        times: number of consecutive repetitions.
        layers: positions in the net of the layers in the box.
        size: number of boxes that a folded one stands for, consecutive ones of the whole drawing.
    """

    title: str
    kinds: list[str]
    shape: str
    role: str
    sources: list[int] = field(default_factory=list)
    times: int = 1
    layers: list[int] = field(default_factory=list)
    size: int = 1


class Drawn(NamedTuple):
    """What a drawing shows of a layer.

    Attributes:
        name, type, role, bottoms, tops: of the layer.
        message: its fields.
        shape: of its first top; None where that is not known.
    """

    name: str
    type: str
    role: str
    bottoms: Sequence[str]
    tops: Sequence[str]
    message: LayerParameter
    shape: tuple[int, ...] | None


def net_boxes(net: Draft[Kind]) -> list[Box]:
    """Boxes in the order of the layers. An in-place layer goes into the box of the layer before it."""
    layers = [
        Drawn(
            layer.name,
            layer.type,
            layer.node.kind.role,
            layer.bottoms,
            layer.tops,
            layer.message,
            net.shapes[layer.tops[0]] if layer.tops else None,
        )
        for layer in net.layers
    ]
    return layer_boxes({name: net.shapes[name] for name in net.graph.inputs}, layers)


def layer_boxes(inputs: Mapping[str, tuple[int, ...]], layers: Iterable[Drawn]) -> list[Box]:
    """The boxes of a net's inputs and layers; see `net_boxes`."""
    boxes: list[Box] = []
    writer: dict[str, int] = {}
    for name, shape in inputs.items():
        writer[name] = len(boxes)
        boxes.append(Box(name, ["input"], _dims(shape), "data"))
    for number, layer in enumerate(layers):
        home = writer.get(layer.bottoms[0]) if layer.bottoms else None
        if home is not None and list(layer.tops) == list(layer.bottoms[:1]) and len(layer.bottoms) == 1:
            boxes[home].kinds.append(describe(layer))
            boxes[home].layers.append(number)
            continue
        sources = sorted({writer[name] for name in layer.bottoms if name in writer})
        for top in layer.tops:
            writer[top] = len(boxes)
        size = _dims(layer.shape)
        boxes.append(Box(layer.name, [describe(layer)], size, layer.role, sources, layers=[number]))
    return boxes


def describe(layer: Drawn) -> str:
    """A layer's type and its most important fields, such as "Convolution 64 k3 d2"."""
    words = [layer.type]
    for message, name, form in NOTED:
        param = getattr(layer.message, message)
        value = getattr(param, name)
        descriptor = param.DESCRIPTOR.fields_by_name[name]
        values = list(value) if hasattr(value, "__len__") else [value] if param.HasField(name) else []
        if not layer.message.HasField(message) or not values or (form[0] in "sdg" and set(values) == {1}):
            continue
        if descriptor.enum_type is not None:
            values = [descriptor.enum_type.values_by_number[number].name for number in values]
        words.append(
            form.format(*values[:1]) if len(set(values)) == 1 else form.format("x".join(map(str, values)))
        )
    return " ".join(words)


def _dims(shape: tuple[int, ...] | None) -> str:
    return "" if shape is None else " x ".join(map(str, shape)) or "scalar"
