"""Which blobs layers own, which they share by name, as in Caffe, and with which rates they learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Generic, TypeVar

from rlossctl.errors import NetError
from rlossctl.net.graph import Node
from rlossctl.net.outline import Outline, layer_error
from rlossctl.prototxt.messages import ParamSpec

Kind = TypeVar("Kind", bound=Outline)


@dataclass
class Owner(Generic[Kind]):
    """A learned blob: the layer it belongs to, its number there, and the layers that share it.

    Attributes:
        lr_mult, decay_mult: as the first ParamSpec that sets it says.
        sharers: layers and the numbers that the blob has in them.
    """

    node: Node
    layer: Kind
    index: int
    lr_mult: float | None = None
    decay_mult: float | None = None
    sharers: list[tuple[Kind, int]] = field(default_factory=list)

    def rates(self) -> tuple[float, float]:
        """lr_mult and decay_mult, defaults filled in."""
        if self.index in self.layer.forced_rates:
            return self.layer.forced_rates[self.index]
        decay_mult = 1.0 if self.decay_mult is None else self.decay_mult
        if self.layer.forced_lr_mult is not None:
            return self.layer.forced_lr_mult, decay_mult
        return self.layer.default_lr_mult if self.lr_mult is None else self.lr_mult, decay_mult


def param_spec(node: Node, index: int) -> ParamSpec:
    """The ParamSpec of blob `index`; Caffe's defaults if the prototxt has fewer."""
    specs = node.message.param
    return specs[index] if index < len(specs) else ParamSpec()


def resolve_sharing(layers: Sequence[tuple[Node, Kind]]) -> list[Owner[Kind]]:
    """Finds the blobs with the same ParamSpec name, and lists their owners in order.

    Raises:
        NetError: more specs than blobs, shapes that differ, or rates that contradict each other.
    """
    owners: list[Owner[Kind]] = []
    named: dict[str, Owner[Kind]] = {}
    for node, layer in layers:
        count = len(layer.blob_shapes)
        if len(node.message.param) > count:
            raise layer.error("more param entries than blobs", found=len(node.message.param), expected=count)
        for index in range(count):
            spec = param_spec(node, index)
            owner = named.get(spec.name) if spec.name else None
            if owner is None:
                owner = Owner(node, layer, index)
                owners.append(owner)
                if spec.name:
                    named[spec.name] = owner
            else:
                _check_share(owner, layer, index, spec)
                owner.sharers.append((layer, index))
            _merge_rates(owner, node, spec)
    return owners


def _check_share(owner: Owner[Kind], layer: Kind, index: int, spec: ParamSpec) -> None:
    mine, shared = layer.blob_shapes[index], owner.layer.blob_shapes[owner.index]
    strict = spec.share_mode == ParamSpec.STRICT
    if mine != shared if strict else prod(mine) != prod(shared):
        raise layer.error(
            f"parameter {spec.name!r} is shared with layer {owner.node.name!r} but its size differs",
            found=_size(mine),
            expected=_size(shared),
        )
    if mine != shared:
        raise layer.error(
            f"parameter {spec.name!r} is shared with layer {owner.node.name!r}, but its shape differs",
            found=_size(mine),
            expected=_size(shared),
            advice="share_mode: PERMISSIVE is available for equal shapes only",
        )


def _merge_rates(owner: Owner[Kind], node: Node, spec: ParamSpec) -> None:
    for name in ("lr_mult", "decay_mult"):
        if not spec.HasField(name):
            continue
        value, before = getattr(spec, name), getattr(owner, name)
        if before is not None and before != value:
            raise _rate_error(owner, node, spec, name, value, before)
        setattr(owner, name, value)


def _rate_error(
    owner: Owner[Kind], node: Node, spec: ParamSpec, name: str, value: float, before: float
) -> NetError:
    return layer_error(
        node.name,
        node.kind.type,
        node.where,
        f"shared parameter {spec.name!r} has a different {name} in layer {owner.node.name!r}",
        found=f"{value:g}",
        expected=f"{before:g}",
    )


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
