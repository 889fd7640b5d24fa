"""What every converter starts from: a net for inference with its weights, and where both came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import rlossctl
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import WeightsError
from rlossctl.net import Net
from rlossctl.net.build import load_inference_net
from rlossctl.net.deploy import Deploy, size_rule
from rlossctl.prototxt import to_text

BLOCK = 1 << 20


@dataclass(frozen=True)
class ConversionSource:
    """A net for inference, and what a converted file should remember of it.

    Attributes:
        ignored: layers of the weights file that the net lacks.
        missing: layers of the net that the file lacks; they keep their fillers.
    """

    net: Net
    prototxt: Path
    weights: Path
    outputs: tuple[str, ...]
    classes: tuple[str, ...] | None
    ignored: tuple[str, ...]
    missing: tuple[str, ...]

    def deploy(self) -> Deploy:
        """The part of the net that is exported as a function of the image."""
        return Deploy(self.net, self.outputs or None).eval()

    def preprocess(self, deploy: Deploy) -> Preprocess | None:
        """How the net's own data layer prepares images; None for nets without one."""
        stride, offset = size_rule(deploy)
        for layer in self.net.layers:
            if layer.type == "ImageSegData":
                return Preprocess.from_layer(layer.message, stride=stride, offset=offset)
        return None

    def notes(self) -> tuple[str, ...]:
        """What the user should know about the weights."""
        notes = []
        if self.ignored:
            notes.append(f"note: layers of the weights file that the net lacks: {_some(self.ignored)}")
        if self.missing:
            notes.append(
                f"note: layers without weights in the file keep their fillers: {_some(self.missing)}"
            )
        return tuple(notes)

    def net_text(self) -> str:
        """The net's prototxt, placeholders filled, layers filtered."""
        return to_text(self.net.param)

    def origin(self) -> dict[str, dict[str, str]]:
        """Names and SHA-256 of the files, and the tool's version."""
        files = {"prototxt": self.prototxt, "weights": self.weights}
        return {
            **{kind: {"name": path.name, "sha256": sha256(path)} for kind, path in files.items()},
            "tool": {"name": "rlossctl", "version": rlossctl.__version__},
        }


def open_source(
    prototxt: str | Path,
    weights: str | Path,
    placeholders: Mapping[str, object] | None = None,
    outputs: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
) -> ConversionSource:
    """Loads the net for inference with its weights.

    Raises:
        WeightsError: no layer of the file fits the net by name.
    """
    net = load_inference_net(prototxt, placeholders=placeholders)
    copied, ignored = net.copy_from(weights)
    if not copied and net.params:
        raise WeightsError(
            "has no layer in common with the net",
            where=weights,
            found=", ".join(ignored[:6]) or "no layers with blobs",
            expected=", ".join(list(net.params)[:6]),
            advice="check the placeholders that are part of layer names (EXP), and the pair of files",
        )
    missing = tuple(name for name in net.params if name not in copied)
    return ConversionSource(
        net,
        Path(prototxt),
        Path(weights),
        tuple(outputs or ()),
        tuple(classes) if classes else None,
        tuple(ignored),
        missing,
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f", ... ({len(names)} in all)" if len(names) > 8 else "")


def sha256(path: Path) -> str:
    """Hash of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
