"""Drawing a net as boxes of layers, in SVG: a drafted one, or a message."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.drawing.boxes import Box, Drawn, layer_boxes, net_boxes
from rlossctl.drawing.layout import arrange
from rlossctl.drawing.repeats import fold
from rlossctl.drawing.svg import picture
from rlossctl.files import atomic_write
from rlossctl.words import counted

if TYPE_CHECKING:
    from rlossctl.net.draft import Draft
    from rlossctl.net.sharing import Kind
    from rlossctl.prototxt.messages import NetParameter


def draw_net(net: Draft[Kind], out: Path) -> None:
    """Writes an SVG file. An in-place layer shares the box of the layer before it. In a long net, repeating
    parts are drawn once.

    Raises:
        RlossError: the file cannot be written.
    """
    text = _drawing(net_boxes(net), f"{net.name or 'net'}, {net.phase}", len(net.layers))
    with atomic_write(out) as file:
        file.write(text.encode())


def message_drawing(param: NetParameter) -> str:
    """The SVG text of a net that need not be whole: no data, no shapes, layers of any phase and type."""
    return _drawing(message_boxes(param), param.name or "net", len(param.layer))


def message_boxes(param: NetParameter) -> list[Box]:
    """The boxes of such a net, before they are folded."""
    from rlossctl.net import registry

    kinds = registry.kinds()
    layers = [
        Drawn(
            layer.name,
            layer.type,
            kinds[layer.type].role if layer.type in kinds else "layer",
            layer.bottom,
            layer.top,
            layer,
            None,
        )
        for layer in param.layer
    ]
    inputs = {name: tuple(shape.dim) for name, shape in zip(param.input, param.input_shape, strict=False)}
    known = dict.fromkeys(param.input, ()) | inputs
    return layer_boxes(known, layers)


def _drawing(boxes: list[Box], title: str, layers: int) -> str:
    return picture(arrange(fold(boxes)), f"{title}, {counted(layers, 'layer')}")
