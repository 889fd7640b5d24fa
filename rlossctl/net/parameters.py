"""A net's learned blobs: their memory, the learnable list, and copying weights by layer name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from rlossctl.errors import WeightsError
from rlossctl.net.fillers import fill
from rlossctl.net.graph import Node
from rlossctl.net.layer import Layer
from rlossctl.net.sharing import Owner
from rlossctl.weights import Blob

MISFIT = "the weights do not fit the net"


@dataclass(frozen=True)
class Learnable:
    """One owned blob with its solver settings. A shared blob appears once, at its owner."""

    tensor: Tensor
    lr_mult: float
    decay_mult: float
    layer: str
    index: int


def tie(owners: Iterable[Owner[Layer]]) -> None:
    """Gives every sharer the owner's blob."""
    for owner in owners:
        for layer, index in owner.sharers:
            layer.blobs[index] = blob_of(owner)


def blob_of(owner: Owner[Layer]) -> nn.Parameter:
    """The owner's tensor."""
    return owner.layer.blobs[owner.index]


def freeze(owners: Iterable[Owner[Layer]]) -> None:
    """Blobs that do not learn get no gradient, nor do those whose lr_mult is 0, as in Caffe."""
    for owner in owners:
        blob = blob_of(owner)
        blob.requires_grad_(blob.requires_grad and owner.rates()[0] != 0)


def materialize(
    owners: Iterable[Owner[Layer]],
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
        meta = blob_of(owner)
        if id(meta) in given:
            continue
        blob = nn.Parameter(torch.empty(meta.shape, device=device), requires_grad=meta.requires_grad)
        where = f"{owner.node.where}: layer {owner.node.name!r}"
        fill(blob, owner.layer.fillers[owner.index], where, owner.layer.setup.dialect)
        real[id(meta)] = blob
    for _, layer in built:
        for index in range(len(layer.blobs)):
            layer.blobs[index] = real[id(layer.blobs[index])]


def learnable(owners: Iterable[Owner[Layer]]) -> list[Learnable]:
    """The solver's list: by layer, then by blob, which is also the order of a solverstate's history."""
    return [Learnable(blob_of(owner), *owner.rates(), owner.node.name, owner.index) for owner in owners]


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
    target: Mapping[str, Sequence[Tensor]],
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
    found = _matched(source, target, complete)
    problems = [f"layer {name!r}{problem}" for name, each in found.misfits.items() for problem in each]
    if problems:
        shown = problems[:12] + ([f"... and {len(problems) - 12} more"] if len(problems) > 12 else [])
        raise WeightsError(
            MISFIT,
            where=where,
            found="; ".join(shown),
            expected="equal blob counts and shapes in layers with the same name",
            advice="use the prototxt that the file was trained with, or rename the layers that changed",
        )
    found.copy()
    return found.copied, found.ignored


@dataclass(frozen=True)
class Fitted:
    """What `copy_fitting` did.

    Attributes:
        copied: layers that now have the file's values.
        ignored: layers of the file that the net lacks.
        anew: layers with parameters that keep their fillers' values -> why: sizes that differ, or "not in the
            file". Layers that share all their blobs with a copied layer are not included.
    """

    copied: tuple[str, ...]
    ignored: tuple[str, ...]
    anew: Mapping[str, str]


def copy_fitting(
    source: Iterable[tuple[str, Sequence[Blob | None]]],
    target: Mapping[str, Sequence[Tensor]],
    *,
    complete: bool = True,
) -> Fitted:
    """Copies the layers that fit by name, number of blobs and shapes (whole layers only), and lists the rest.

    For training that starts from a net with other classes; Caffe itself refuses such a file. Takes the same
    arguments as `copy_blobs`.
    """
    found = _matched(source, target, complete)
    found.copy()
    filled = {id(tensor) for _, tensor in found.pairs}
    anew = {
        name: "; ".join(problem.lstrip(": ") for problem in found.misfits[name])
        if name in found.misfits
        else "not in the file"
        for name, blobs in target.items()
        if any(id(blob) not in filled for blob in blobs)
    }
    return Fitted(tuple(found.copied), tuple(found.ignored), anew)


@dataclass
class _Matched:
    """A file's layers matched with a net's: what can be copied, and what cannot, with the reasons."""

    pairs: list[tuple[Blob, Tensor]] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    misfits: dict[str, list[str]] = field(default_factory=dict)

    def copy(self) -> None:
        for blob, tensor in self.pairs:
            assign(tensor, blob.array())


def _matched(
    source: Iterable[tuple[str, Sequence[Blob | None]]],
    target: Mapping[str, Sequence[Tensor]],
    complete: bool,
) -> _Matched:
    out, seen = _Matched(), set()
    for name, blobs in source:
        if name not in target or name in seen:
            if blobs and name not in target:
                out.ignored.append(name)
            continue
        seen.add(name)
        # HDF5 files hold a shared blob only in the layer that owns it.
        present = [
            (blob, tensor) for blob, tensor in zip(blobs, target[name], strict=False) if blob is not None
        ]
        problems = _misfits(blobs, target[name], complete)
        if problems:
            out.misfits[name] = problems
        elif present:
            out.pairs += present
            out.copied.append(name)
    return out


def _misfits(blobs: Sequence[Blob | None], tensors: Sequence[Tensor], complete: bool) -> list[str]:
    """Why a layer's blobs cannot be copied; each reason follows the layer's name."""
    if len(blobs) > len(tensors) or (len(blobs) < len(tensors) and complete):
        return [f": {len(blobs)} blobs in the file, {len(tensors)} in the net"]
    return [
        f" blob {index}: {_size(blob.shape)} in the file, {_size(tensor.shape)} in the net"
        for index, (blob, tensor) in enumerate(zip(blobs, tensors, strict=False))
        if blob is not None and not blob.fits(tuple(tensor.shape))
    ]


def without_spare(
    name: str, blobs: Sequence[Blob | None], own: int, spare: Sequence[str], where: str
) -> Sequence[Blob | None]:
    """A layer's blobs in a file without those of another version of the layer, if they do not count.

    Args:
        own: how many blobs the net's layer has.
        spare: what the further blobs of the other version weigh (`Layer.spare_blobs`).

    Raises:
        WeightsError: one of them is not 0.
    """
    if not spare or len(blobs) != own + len(spare):
        return blobs
    for weighed, blob in zip(spare, blobs[own:], strict=True):
        if blob is not None and blob.array().any():
            raise WeightsError(
                f"layer {name!r} has surplus blobs that count: {weighed}",
                where=where,
                found=f"{len(blobs)} blobs, the last {len(spare)} for {', '.join(spare)}",
                expected=f"{own} blobs, or zeros in the others",
                advice="use the program that wrote the file: without these weights the layer computes "
                "something else",
            )
    return blobs[:own]


@torch.no_grad()
def assign(tensor: Tensor, array: np.ndarray) -> None:
    """Overwrites `tensor` with an array of the same count, which may be read-only, without a second copy."""
    values = array.reshape(tuple(tensor.shape))
    if tensor.device.type == "cpu":
        np.copyto(tensor.detach().numpy(), values)
    else:
        tensor.copy_(torch.tensor(values))


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
