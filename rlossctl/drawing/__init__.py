"""Drawing a net as boxes of layers, in SVG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.drawing.boxes import net_boxes
from rlossctl.drawing.layout import arrange
from rlossctl.drawing.repeats import fold
from rlossctl.drawing.svg import picture
from rlossctl.files import atomic_write
from rlossctl.words import counted

if TYPE_CHECKING:
    from rlossctl.net import Net


def draw_net(net: Net, out: Path) -> None:
    """Writes an SVG file. An in-place layer shares the box of the layer before it. In a long net, repeating
    parts are drawn once.

    Raises:
        RlossError: the file cannot be written.
    """
    boxes = fold(net_boxes(net))
    text = picture(arrange(boxes), f"{net.name or 'net'}, {net.phase}, {counted(len(net.layers), 'layer')}")
    with atomic_write(out) as file:
        file.write(text.encode())
