"""Names for every tensor that a pass of a net computes, in-place layers included. With these names, two
programs that run the same net can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlossctl.net.deploy import Deploy
from rlossctl.net.layer import Shape
from rlossctl.net.tops import sized


@dataclass(frozen=True)
class Value:
    """One tensor of a pass.

    Attributes:
        name: the blob's name; `<blob>@<layer>` if an in-place layer replaces the blob later.
        names: all its names, if layers pass it on.
        layer: the layer that computes it.
        number, top: that layer's index among the deployed layers, and the index of this top.
    shape: in this pass.
    """

    name: str
    names: tuple[str, ...]
    layer: str
    number: int
    top: int
    shape: Shape


def named_values(deploy: Deploy, shape: Sequence[int] | None = None) -> list[Value]:
    """Every tensor of a pass once, in order of computation.

    Args:
        shape: of the image in this pass; by default the prototxt's.

    A layer that passes its bottom on (Dropout, Split, ...) makes no new tensor. The tensor is named after an
    output if it is one, else after the blob that holds it in the end.
    """
    versions = version_names(deploy)
    made: dict[tuple[int, int], list[str]] = {}  # place -> every name of the tensor
    shapes: dict[tuple[int, int], Shape] = {}
    current: dict[str, tuple[int, int] | None] = {deploy.input_name: None}  # blob -> where it was made
    inputs = {deploy.input_name: tuple(shape or deploy.input_shape)}
    for number, (layer, tops) in enumerate(sized(deploy.layers, inputs)):
        sources = [current[name] for name in layer.bottoms]
        for index, (blob, top) in enumerate(zip(layer.tops, tops, strict=True)):
            place = (number, index) if top.bottom is None else sources[top.bottom]
            current[blob] = place
            if place is not None:
                made.setdefault(place, []).append(versions[number, index])
                shapes.setdefault(place, top.shape)
    return [
        Value(_best(names, deploy), tuple(names), deploy.layers[place[0]].name, *place, shapes[place])
        for place, names in made.items()
    ]


def version_names(deploy: Deploy) -> dict[tuple[int, int], str]:
    """(layer number, top) -> a unique name."""
    last = {
        top: (number, index)
        for number, layer in enumerate(deploy.layers)
        for index, top in enumerate(layer.tops)
    }
    taken = {deploy.input_name, *last}
    names = {}
    for number, layer in enumerate(deploy.layers):
        for index, top in enumerate(layer.tops):
            name = top
            if last[top] != (number, index):
                name = f"{top}@{layer.name}"
                name = name if name not in taken else f"{name}#{number}"
                taken.add(name)
            names[number, index] = name
    return names


def _best(names: list[str], deploy: Deploy) -> str:
    outputs = [name for name in names if name in deploy.output_names]
    plain = [name for name in names if "@" not in name]
    return (outputs or plain or names)[0]
