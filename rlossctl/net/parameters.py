"""A net's learned blobs: Caffe's sharing by name, the learnable list, and copying weights by layer name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rlossctl.errors import NetError, WeightsError
from rlossctl.net.fillers import fill
from rlossctl.net.graph import Node
from rlossctl.net.layer import Layer, layer_error
from rlossctl.prototxt.messages import ParamSpec
from rlossctl.weights import Blob


@dataclass(frozen=True)
class Learnable:
    """One owned blob with its solver settings. A shared blob appears once, at its owner."""

    tensor: Tensor
    lr_mult: float
    decay_mult: float
    layer: str
    index: int


@dataclass
class _Owner:
    node: Node
    layer: Layer
    index: int
    lr_mult: float | None = None  # as the first ParamSpec that sets it says
    decay_mult: float | None = None

    @property
    def blob(self) -> Tensor:
        return self.layer.blobs[self.index]

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


def resolve_sharing(built: Sequence[tuple[Node, Layer]]) -> list[_Owner]:
    """Ties blobs with the same ParamSpec name together, on the meta device, and lists the owners in order.

    Raises:
        NetError: more specs than blobs, shapes that differ, or rates that contradict each other.
    """
    owners: list[_Owner] = []
    named: dict[str, _Owner] = {}
    for node, layer in built:
        if len(node.message.param) > len(layer.blobs):
            raise layer.error(
                "more param entries than blobs", found=len(node.message.param), expected=len(layer.blobs)
            )
        for index in range(len(layer.blobs)):
            spec = param_spec(node, index)
            owner = named.get(spec.name) if spec.name else None
            if owner is None:
                owner = _Owner(node, layer, index)
                owners.append(owner)
                if spec.name:
                    named[spec.name] = owner
            else:
                _tie(owner, node, layer, index, spec)
            _merge_rates(owner, node, spec)
    return owners


def materialize(
    owners: Iterable[_Owner],
    built: Sequence[tuple[Node, Layer]],
    device: torch.device,
    given: Mapping[int, nn.Parameter],
) -> None:
    """Allocates and fills every owned blob, and hands it to its sharers.

    Args:
        given: another net's storage to use instead of new memory, by `id` of the meta blob (`shared_blobs`).
    """
    real = dict(given)
    for owner in owners:
        meta = owner.blob
        if id(meta) in given:
            continue
        trains = meta.requires_grad and owner.rates()[0] != 0  # lr_mult 0: Caffe computes no gradient
        blob = nn.Parameter(torch.empty(meta.shape, device=device), requires_grad=trains)
        where = f"{owner.node.where}: layer {owner.node.name!r}"
        fill(blob, owner.layer.fillers[owner.index], where, owner.layer.setup.dialect)
        real[id(meta)] = blob
    for _, layer in built:
        for index in range(len(layer.blobs)):
            layer.blobs[index] = real[id(layer.blobs[index])]


def learnable(owners: Iterable[_Owner]) -> list[Learnable]:
    """The solver's list: by layer, then by blob, which is also the order of a solverstate's history."""
    return [Learnable(owner.blob, *owner.rates(), owner.node.name, owner.index) for owner in owners]


def shared_blobs(
    built: Iterable[tuple[Node, Layer]], params: Mapping[str, Sequence[nn.Parameter]]
) -> dict[int, nn.Parameter]:
    """Another net's blobs for layers with the same name, by `id` of the meta blob.

    As in Net::ShareTrainedLayersWith.

    Raises:
        NetError: shapes differ.
    """
    given: dict[int, nn.Parameter] = {}
    for node, layer in built:
        theirs = params.get(node.name, [])
        if not theirs or not len(layer.blobs):
            continue
        found, expected = ([tuple(blob.shape) for blob in blobs] for blobs in (layer.blobs, theirs))
        if found != expected:
            raise layer.error(
                "cannot share its weights with the training net", found=found, expected=expected
            )
        given.update((id(mine), blob) for mine, blob in zip(layer.blobs, theirs, strict=True))
    return given


def copy_blobs(
    source: Iterable[tuple[str, Sequence[Blob | None]]],
    target: dict[str, list[Tensor]],
    where: str,
    *,
    complete: bool = True,
) -> tuple[list[str], list[str]]:
    """Copies weights by layer name (Net::CopyTrainedLayersFrom).

    Args:
        source: (layer name, blobs) of a weights file.
        target: the net's params.
        where: the file's name, for errors.
        complete: whether every layer of the file holds all its blobs (false for HDF5 files of sharing nets).

    Returns:
        Names of the layers copied, and of the source layers that the net does not have ("Ignoring source
        layer").

    Raises:
        WeightsError: lists every layer whose blob count or shape does not fit; then nothing is copied.
    """
    copied, ignored, problems, pairs = [], [], [], []
    seen = set()
    for name, blobs in source:
        if name not in target or name in seen:
            if blobs and name not in target:
                ignored.append(name)
            continue
        seen.add(name)
        tensors = target[name]
        # HDF5 files hold a shared blob only in the layer that owns it.
        present = [(blob, tensor) for blob, tensor in zip(blobs, tensors, strict=False) if blob is not None]
        if len(blobs) > len(tensors) or (len(blobs) < len(tensors) and complete):
            problems.append(f"layer {name!r}: {len(blobs)} blobs in the file, {len(tensors)} in the net")
            continue
        for index, (blob, tensor) in enumerate(present):
            if not blob.fits(tuple(tensor.shape)):
                problems.append(
                    f"layer {name!r} blob {index}: {_size(blob.shape)} in the file, "
                    f"{_size(tensor.shape)} in the net"
                )
        pairs += present
        if present:
            copied.append(name)
    if problems:
        shown = problems[:12] + ([f"... and {len(problems) - 12} more"] if len(problems) > 12 else [])
        raise WeightsError(
            "the weights do not fit the net",
            where=where,
            found="; ".join(shown),
            expected="equal blob counts and shapes in layers with the same name",
            advice="use the prototxt that the file was trained with, or rename the layers that changed",
        )
    for blob, tensor in pairs:
        assign(tensor, blob.array())
    return copied, ignored


def coverage_notes(
    copied: Sequence[str], ignored: Sequence[str], target: dict[str, list[Tensor]], where: str
) -> tuple[str, ...]:
    """What a user should know about weights that were copied by name, but Caffe does not say.

    The names of the experiments' classifiers contain the placeholder EXP, so a wrong value would leave only
    the classifier untrained.

    Args:
        copied, ignored: as `copy_blobs` returns them.

    Raises:
        WeightsError: the file has no layer in common with the net.
    """
    # Layers that share a blob hold the same tensor, and the file may have it under only one name.
    filled = {id(tensor) for name in copied for tensor in target[name]}
    missing = [name for name, blobs in target.items() if any(id(blob) not in filled for blob in blobs)]
    if target and not copied:
        raise WeightsError(
            "has no layer in common with the net",
            where=where,
            found=_some(ignored) or "no layers with blobs",
            expected=f"layers such as {_some(missing)}",
            advice="check that the weights are this net's, and placeholders in layer names (--set EXP=...)",
        )
    notes = []
    if ignored:
        notes.append(f"note: layers of {where} that the net lacks: {_some(ignored)}")
    if missing:
        notes.append(f"note: layers without weights in {where} keep their fillers: {_some(missing)}")
    return tuple(notes)


@torch.no_grad()
def assign(tensor: Tensor, array: np.ndarray) -> None:
    """Overwrites `tensor` with an array of the same count, which may be read-only, without a second copy."""
    values = array.reshape(tuple(tensor.shape))
    if tensor.device.type == "cpu":
        np.copyto(tensor.detach().numpy(), values)
    else:
        tensor.copy_(torch.tensor(values))


def _tie(owner: _Owner, node: Node, layer: Layer, index: int, spec: ParamSpec) -> None:
    mine, shared = layer.blobs[index], owner.layer.blobs[owner.index]
    strict = spec.share_mode == ParamSpec.STRICT
    if mine.shape != shared.shape if strict else mine.numel() != shared.numel():
        raise layer.error(
            f"parameter {spec.name!r} is shared with layer {owner.node.name!r} but its size differs",
            found=_size(mine.shape),
            expected=_size(shared.shape),
        )
    if mine.shape != shared.shape:
        raise layer.error(
            f"parameter {spec.name!r} is shared with layer {owner.node.name!r}, but its shape differs",
            found=_size(mine.shape),
            expected=_size(shared.shape),
            advice="share_mode: PERMISSIVE is available for equal shapes only",
        )
    layer.blobs[index] = shared


def _merge_rates(owner: _Owner, node: Node, spec: ParamSpec) -> None:
    for name in ("lr_mult", "decay_mult"):
        if not spec.HasField(name):
            continue
        value, before = getattr(spec, name), getattr(owner, name)
        if before is not None and before != value:
            raise _rate_error(owner, node, spec, name, value, before)
        setattr(owner, name, value)


def _rate_error(
    owner: _Owner, node: Node, spec: ParamSpec, name: str, value: float, before: float
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


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")
