"""Which layers of a net a weights file fills, and what happens to the others.

Caffe copies weights by layer name and does not mention layers that the file lacks. They keep their fillers'
values, and the scores of such a net mean nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.message import Message

from rlossctl.errors import RlossWarning, WeightsError
from rlossctl.net.outline import Filler
from rlossctl.net.saved import as_array
from rlossctl.net.sharing import param_spec
from rlossctl.weights import TensorFile, Weights
from rlossctl.weights.blobs import Blob
from rlossctl.weights.finite import require_finite
from rlossctl.words import counted

if TYPE_CHECKING:
    from rlossctl.net.net import Net
    from rlossctl.net.walk import LayerNode

_SHOWN = 8


class MissingWeights(RlossWarning):
    """Warns that the weights lack layers of a net that is used for prediction."""


@dataclass(frozen=True)
class Coverage:
    """How a weights file covers a net.

    The names of the experiments' classifiers contain the placeholder EXP, so a wrong value would leave only
    the classifier untrained.

    Attributes:
        where: the file's name.
        copied: layers that have the file's values.
        unused: layers of the file that the net lacks.
        missing: layers of the net that keep their fillers' values.
        fixed: layers that are not in the file either, but have the same values in every run: the prototxt's
            fillers set them and they are not learned. A bilinear Deconvolution is an example.
        inherited: layers that are in the file, but had no weights when it was made.
        renamed: missing layer -> an unused layer with blobs of the same shapes.
    """

    where: str
    copied: tuple[str, ...]
    unused: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    inherited: tuple[str, ...] = ()
    renamed: Mapping[str, str] | None = None

    def require(self, allowed: bool = False, needed: Collection[str] | None = None) -> Coverage:
        """This coverage, unless layers that matter are missing.

        Args:
            allowed: accept missing layers.
            needed: names of the layers that lead to the result; None for all.

        Raises:
            WeightsError: lists the missing layers and the unused layers of the file, and says which of these
                fit; or the file has no layer in common with the net.
        """
        if self.missing and not self.copied:
            raise WeightsError(
                "has no layer in common with the net",
                where=self.where,
                found=some(self.unused) or "no layers with blobs",
                expected=f"layers such as {some(self.missing)}",
                advice="check that the weights are this net's, and placeholders in layer names "
                "(--set EXP=...)",
            )
        lacking = self.lacking(needed)
        if lacking and not allowed:
            raise WeightsError(
                f"lacks the weights of {counted(len(lacking), 'layer')} of the net",
                where=self.where,
                found=f"nothing for {self._named(lacking)}; {self._unused_words()}",
                expected="weights for every layer with parameters: the others keep their fillers' values, "
                "mostly random",
                advice="check placeholders in layer names (--set EXP=...) and that the weights are this "
                "net's, or rename the layers; --allow-missing goes on without them",
            )
        return self

    def lacking(self, needed: Collection[str] | None = None) -> tuple[str, ...]:
        """The missing layers, or only the needed ones."""
        return tuple(name for name in self.missing if needed is None or name in needed)

    def untrained(self, needed: Collection[str] | None = None) -> tuple[str, ...]:
        """The layers, or those of them that are needed, that hold what a filler drew, now or earlier."""
        earlier = (name for name in self.inherited if needed is None or name in needed)
        return (*self.lacking(needed), *earlier)

    def warning(self, needed: Collection[str] | None = None) -> str:
        """The warning above the result of a net with untrained layers; "" if there are none."""
        lacking = self.untrained(needed)
        if not lacking:
            return ""
        return (
            f"layers without weights in {self.where} keep their fillers: {some(lacking)}; what they compute "
            "is mostly random"
        )

    def notes(self, needed: Collection[str] | None = None) -> tuple[str, ...]:
        """What else a user should know, but Caffe does not say."""
        spare = tuple(name for name in self.missing if name not in self.lacking(needed))
        texts = {
            f"layers of {self.where} that the net lacks": self.unused,
            f"layers without weights in {self.where} that do not lead to the scores": spare,
            f"layers that are not in {self.where} and are filled as the prototxt says, without learning": (
                self.fixed
            ),
        }
        return tuple(f"note: {words}: {some(names)}" for words, names in texts.items() if names)

    def _named(self, lacking: Sequence[str]) -> str:
        fitting = self.renamed or {}
        return some([f"{name} (as {fitting[name]}?)" if name in fitting else name for name in lacking])

    def _unused_words(self) -> str:
        if not self.unused:
            return "every layer of the file is used"
        return f"layers of the file that the net lacks: {some(self.unused)}"


def copy_covered(net: Net, model: Weights, where: str) -> Coverage:
    """Copies weights by layer name (`Net.copy_model`) and says what they cover.

    Raises:
        WeightsError: blobs that do not fit.
    """
    copied, unused = net.copy_model(model, where)
    filled = {
        id(tensor)
        for layer in model.layers
        if layer.name in copied
        for blob, tensor in zip(layer.blobs, net.params[layer.name], strict=False)
        if blob is not None
    }
    # Layers that share a blob hold the same tensor, and the file may have it under only one name.
    empty = {
        layer.name: layer for layer in net.layers if any(id(b) not in filled for b in layer.module.blobs)
    }
    fixed = {name for name, layer in empty.items() if is_fixed(layer)}
    missing = [name for name in empty if name not in fixed]
    spare = {layer.name: layer.blobs for layer in model.layers if layer.name in set(unused)}
    renamed = {name: other for name in missing if (other := _fitting(empty[name], spare)) is not None}
    return Coverage(
        where,
        tuple(copied),
        tuple(unused),
        tuple(missing),
        tuple(name for name in empty if name in fixed),
        _inherited(model, net),
        renamed,
    )


def _inherited(model: Weights, net: Net) -> tuple[str, ...]:
    """The net's layers that a file of tensors calls untrained."""
    text = model.metadata.get("untrained", "[]") if isinstance(model, TensorFile) else "[]"
    try:
        names = json.loads(text)
    except ValueError:
        return ()
    return tuple(name for name in net.params if name in names) if isinstance(names, list) else ()


def require_finite_layers(net: Net, where: str, needed: Collection[str] | None = None) -> None:
    """Raises a WeightsError that names the blobs with NaN or infinity, if there are any.

    Args:
        needed: names of the layers to look at; None for all.
    """
    blobs = {
        id(blob): (f"layer {name!r} blob {index}", blob)
        for name, tensors in reversed(net.params.items())  # a shared blob is the first layer's
        for index, blob in enumerate(tensors)
        if needed is None or name in needed
    }
    require_finite(((place, as_array(blob)) for place, blob in reversed(blobs.values())), where)


def is_fixed(layer: LayerNode) -> bool:
    """Whether a layer's values come from the prototxt alone, the same in every run and never learned.

    This is so for Deconvolutions with a bilinear filler (deploy prototxts leave out their lr_mult 0), and for
    layers whose blobs all have lr_mult 0 and a constant filler in the prototxt. It is not so for a frozen
    convolution without a filler, which needs weights.
    """
    module = layer.module
    if module.forced_lr_mult is not None:  # statistics, which are learned by another rule
        return False
    if any(_type(filler) == "bilinear" for filler in module.fillers):
        return all(filler is None or _type(filler) in ("bilinear", "constant") for filler in module.fillers)
    return all(
        _is_written_constant(filler) and param_spec(layer.node, index).lr_mult == 0
        for index, filler in enumerate(module.fillers)
    )


def some(names: Sequence[str]) -> str:
    """The first names, and the number of all."""
    return ", ".join(names[:_SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")


def _type(filler: Filler) -> str:
    return filler.type if isinstance(filler, Message) else ""


def _is_written_constant(filler: Filler) -> bool:
    return isinstance(filler, Message) and filler.type == "constant" and bool(filler.ListFields())


def _fitting(layer: LayerNode, spare: Mapping[str, Iterable[Blob | None]]) -> str | None:
    """The first unused layer of the file whose blobs have the layer's shapes."""
    shapes = [tuple(blob.shape) for blob in layer.module.blobs]
    for name, blobs in spare.items():
        found = [blob for blob in blobs if blob is not None]
        if len(found) == len(shapes) and all(
            blob.fits(shape) for blob, shape in zip(found, shapes, strict=True)
        ):
            return name
    return None
