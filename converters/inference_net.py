"""What every converter of a net starts from: a net for inference with its weights, and their origin."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rlossctl
from rlossctl.converters import importers
from rlossctl.errors import UsageError
from rlossctl.net import Net
from rlossctl.net.build import load_inference_net
from rlossctl.net.deploy import Deploy
from rlossctl.net.parameters import coverage_notes
from rlossctl.prototxt import to_text
from rlossctl.weights import TensorFile, kinds, load_weights

BLOCK = 1 << 20


@dataclass(frozen=True)
class ConversionSource:
    """A net for inference, and what a converted file should remember of it.

    Attributes:
        outputs: blobs that the user named for ONNX.
        notes: what the user should know about the weights.
    """

    net: Net
    prototxt: Path
    weights: Path
    outputs: tuple[str, ...]
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]

    def deploy(self) -> Deploy:
        """The part of the net that is exported as a function of the image."""
        return Deploy(self.net, self.outputs or None).eval()

    def net_text(self) -> str:
        """The net's prototxt, placeholders filled, layers filtered."""
        return to_text(self.net.param)

    def origin(self) -> dict[str, dict[str, str]]:
        """Names and SHA-256 of the files, and the tool's version."""
        return origin(prototxt=self.prototxt, weights=self.weights)


def open_source(
    prototxt: str | Path,
    weights: str | Path,
    placeholders: Mapping[str, object] | None = None,
    outputs: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    dialect: str = "auto",
    data: Mapping[str, object] | None = None,
    kind: str | None = None,
) -> ConversionSource:
    """Loads the net for inference with its weights.

    Args:
        data: settings of the net's data layers.
        kind: the weights' format in place of what suffix and content tell.

    Raises:
        UsageError: the prototxt stands where the weights belong.
        WeightsError: no layer of the file fits the net by name, or a checkpoint of another program does not.
    """
    if kinds.named_kind(weights) == kinds.PROTOTXT != kinds.named_kind(prototxt):
        raise UsageError(
            "net and weights stand the other way round",
            where=prototxt,
            found=f"{Path(prototxt).name}, then {Path(weights).name}",
            expected="the prototxt, then its weights",
            advice=f"write {weights} {prototxt}",
        )
    net = load_inference_net(prototxt, placeholders=placeholders, dialect=dialect, data=data)
    return ConversionSource(
        net,
        Path(prototxt),
        Path(weights),
        tuple(outputs or ()),
        tuple(classes) if classes else None,
        (*net.file.notes, *_fill(net, weights, kind, placeholders)),
    )


def origin(**files: Path) -> dict[str, dict[str, str]]:
    """Name and SHA-256 of each file, and the tool's version."""
    hashes = {kind: {"name": path.name, "sha256": sha256(path)} for kind, path in files.items()}
    return {**hashes, "tool": {"name": "rlossctl", "version": rlossctl.__version__}}


def sha256(path: Path) -> str:
    """Hash of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _fill(
    net: Net, weights: str | Path, kind: str | None, given: Mapping[str, object] | None
) -> tuple[str, ...]:
    """Copies the weights into the net: by layer name, or as the program that wrote them names its tensors."""
    model = load_weights(weights, kind)
    if isinstance(model, TensorFile) and not model.is_ours:
        return importers.fill(net, model, given)
    return coverage_notes(*net.copy_model(model, str(weights)), net.params, str(weights))
