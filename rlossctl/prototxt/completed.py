"""Fields that a net's fork decides, written into the net: offsets of Crop, the loss of edge detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl.prototxt import coordinates, edges

if TYPE_CHECKING:
    from rlossctl.prototxt.messages import NetParameter


def completed(net: NetParameter, dialect: str) -> tuple[NetParameter, tuple[str, ...]]:
    """The net with such fields filled in, and sentences on what was done; the argument is not changed."""
    with_offsets, crops = coordinates.resolved(net, dialect)
    with_losses, losses = edges.resolved(with_offsets, dialect)
    return with_losses, (*crops, *losses)
