"""Which layers take part in the backward pass, and which bottoms get a gradient (the end of Net::Init)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Flow:
    """What decides about one layer, and what is decided.

    Attributes:
        bottoms, tops: names of its blobs.
        learns: one of its blobs has an lr_mult other than 0.
        weighted: one of its tops is a loss.
        propagate: propagate_down, for each bottom; None where the prototxt does not say.
        unforced: bottoms to which force_backward does not apply: labels (AllowForceBackward).
        active: whether it takes part in the backward pass.
        down: for each bottom, whether it gets a gradient.
    """

    bottoms: Sequence[str]
    tops: Sequence[str]
    learns: bool
    weighted: Sequence[bool]
    propagate: Sequence[bool] | None = None
    unforced: Sequence[int] = ()
    active: bool = False
    down: list[bool] = field(default_factory=list)


def decide(flows: Sequence[Flow], *, force: bool) -> None:
    """Fills in `active` and `down` of every layer.

    Args:
        force: force_backward of the net: everything but labels gets a gradient.
    """
    _towards_losses(flows)
    _from_losses(flows)
    if force:
        for flow in flows:
            flow.active = True
            flow.down = [down or index not in flow.unforced for index, down in enumerate(flow.down)]


def _towards_losses(flows: Sequence[Flow]) -> None:
    """A gradient is needed behind everything that learns."""
    needed: set[str] = set()
    for flow in flows:
        wanted = [name in needed for name in flow.bottoms]
        flow.down = wanted if flow.propagate is None else list(flow.propagate)
        flow.active = flow.learns or any(wanted)
        if flow.active:
            needed.update(flow.tops)


def _from_losses(flows: Sequence[Flow]) -> None:
    """And there is none but from losses."""
    under_loss: set[str] = set()
    skipped: set[str] = set()
    for flow in reversed(flows):
        counts = any(flow.weighted) or not under_loss.isdisjoint(flow.tops)
        if flow.active and all(top in skipped for top in flow.tops):
            flow.active = False
            flow.down = [False] * len(flow.bottoms)
        if counts:
            under_loss.update(flow.bottoms)
        else:
            flow.active = False
            flow.down = [False] * len(flow.bottoms)
        skipped.update(name for name, down in zip(flow.bottoms, flow.down, strict=True) if not down)
