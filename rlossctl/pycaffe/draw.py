"""caffe.draw: a drawing of a NetParameter (python/caffe/draw.py), as SVG."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from rlossctl.drawing import message_drawing
from rlossctl.errors import RlossWarning
from rlossctl.files import atomic_write
from rlossctl.prototxt.messages import NetParameter, NetState
from rlossctl.prototxt.phase import included
from rlossctl.prototxt.upgrade import upgrade


class DrawnAsSvg(RlossWarning):
    """A script asks for another format than SVG."""


def draw_net(
    caffe_net: Any, rankdir: str = "LR", ext: str = "svg", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """The drawing as SVG.

    Args:
        caffe_net: a NetParameter of any age.
        rankdir, ext, display_lrm: read, of no effect: drawings go from top to bottom, in SVG.
        phase: only the layers of a phase.
    """
    param = upgrade(NetParameter.FromString(caffe_net.SerializeToString()), caffe_net.name or "net").param
    if phase is not None:
        state = NetState(phase=phase)
        layers = [layer for layer in param.layer if included(layer, state)]
        param = NetParameter(name=param.name, input=param.input, input_shape=param.input_shape, layer=layers)
    return message_drawing(param).encode()


def draw_net_to_file(
    caffe_net: Any,
    filename: str | os.PathLike[str],
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Writes the drawing; a name with another suffix than .svg gets this suffix, with a warning."""
    out = Path(filename).with_suffix(".svg")
    if out != Path(filename):
        warnings.warn(f"drawings are SVG files: {filename} is written as {out}", DrawnAsSvg, stacklevel=2)
    with atomic_write(out) as file:
        file.write(draw_net(caffe_net, rankdir, "svg", phase, display_lrm))
