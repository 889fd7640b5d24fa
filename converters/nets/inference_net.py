"""The starting point of every net converter: a net for inference with its weights, and their origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rlossctl.converters import importers
from rlossctl.errors import UsageError
from rlossctl.net import Net
from rlossctl.net.build import load_inference_net
from rlossctl.net.coverage import Coverage, copy_covered, require_finite_layers
from rlossctl.net.deploy import Deploy
from rlossctl.net.origin import DataOverrides, NetOrigin
from rlossctl.prototxt import to_text
from rlossctl.weights import TensorFile, kinds, load_weights, provenance


@dataclass(frozen=True)
class TrainedNet:
    """A net for inference with its weights, and the facts that a converted file should record.

    Attributes:
        prototxt, weights: the net's files.
        outputs: the output blobs that the user chose for ONNX.
        start: the blob that ONNX takes instead of the image, if any.
        classes: class names for an ONNX file.
        notes: what the user should know about the weights.
        untrained: layers without weights in the file, which the user allowed to be missing.
    """

    net: Net
    prototxt: Path
    weights: Path
    outputs: tuple[str, ...]
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]
    untrained: tuple[str, ...] = ()
    start: str | None = None

    def deploy(self) -> Deploy:
        """The part of the net to export, a function of the image."""
        return Deploy(self.net, self.outputs or None, self.start).eval()

    def net_text(self) -> str:
        """The net's prototxt, with placeholders filled and layers filtered."""
        return to_text(self.net.param)

    def provenance(self) -> provenance.Facts:
        """Names and SHA-256 of the files, the tool's version, and the net's dialect."""
        return provenance.facts({"prototxt": self.prototxt, "weights": self.weights}, self.net.dialect)


def open_trained(
    origin: NetOrigin,
    data: DataOverrides | None = None,
    kind: str | None = None,
    *,
    outputs: Sequence[str] | None = None,
    start: str | None = None,
    classes: Sequence[str] | None = None,
    whole: bool = True,
) -> TrainedNet:
    """Loads a net for inference with its weights.

    Args:
        data: replaces the data layers' own settings.
        kind: the weights' format; replaces the format found from suffix and content.
        whole: every layer needs finite weights, not only the layers that lead to the outputs. Another
            program's checkpoint may then hold only a backbone, to start a training from.

    Raises:
        UsageError: weights are missing, or prototxt and weights are swapped.
        WeightsError: layers have no weights (unless `origin` allows it) or values that are not finite, or
            another program's checkpoint does not fit.
    """
    prototxt, weights = Path(origin.prototxt), origin.weights
    if weights is None:
        raise UsageError("weights are missing", where=prototxt, expected="the prototxt, then its weights")
    if kinds.by_name(weights) == kinds.PROTOTXT != kinds.by_name(prototxt):
        raise UsageError(
            "net and weights are swapped",
            where=prototxt,
            found=f"{prototxt.name}, then {Path(weights).name}",
            expected="the prototxt, then its weights",
            advice=f"write {weights} {prototxt}",
        )
    net = load_inference_net(origin, data)
    needed = None if whole else {layer.name for layer in Deploy(net, outputs or None, start).layers}
    coverage, notes = _fill(net, origin, kind, whole)
    coverage.require(origin.allow_missing, needed)
    require_finite_layers(net, str(weights), needed)
    warning = coverage.warning(needed)
    notes = (*net.file.notes, *notes, *coverage.notes(needed), *([f"warning: {warning}"] if warning else []))
    named = tuple(classes) if classes else None
    untrained = coverage.untrained(needed)
    return TrainedNet(net, prototxt, Path(weights), tuple(outputs or ()), named, notes, untrained, start)


def _fill(net: Net, origin: NetOrigin, kind: str | None, whole: bool) -> tuple[Coverage, tuple[str, ...]]:
    """Copies the weights into the net, by layer name or by the writing program's tensor names."""
    where = str(origin.weights)
    model = load_weights(where, kind)
    if isinstance(model, TensorFile) and not model.is_ours:
        filled = importers.fill(net, model, origin.placeholders)
        copied = tuple(name for name in net.params if name not in filled.kept)
        return Coverage(where, copied, missing=() if whole else filled.kept), filled.notes
    return copy_covered(net, model, where), ()
