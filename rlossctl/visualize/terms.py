"""The losses whose gradient is drawn: DenseCRFLoss by its settings, any other as a piece of prototxt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rlossctl.bilateral import backend
from rlossctl.errors import PrototxtError
from rlossctl.losses import DenseCRFLoss
from rlossctl.net.build import build_phase
from rlossctl.prototxt.messages import LayerParameter
from rlossctl.prototxt.text import NetFile, parse_net, read_text

BLOBS = ("image", "prob", "label", "mask")


class Term(Protocol):
    """A loss of one photo.

    Attributes:
        name: what titles call it.
        setting: its parameters, in words.
    """

    name: str
    setting: str

    def value(self, image: Tensor, prob: Tensor) -> Tensor:
        """The loss, a scalar; image [1, 3, H, W], probabilities [1, K, H, W]."""

    def kernel(self, place: torch.device) -> str:
        """What computes it there, in words."""


class DenseCRFTerm:
    """The DenseCRF loss on all pixels."""

    name = "DenseCRF loss"

    def __init__(self, loss: DenseCRFLoss) -> None:
        self._loss = loss
        self.setting = (
            f"mode {loss.mode}, sigma_xy {loss.sigma_xy:g}, sigma_rgb {loss.sigma_rgb:g}, "
            f"scale_factor {loss.scale_factor:g}, weight {loss.weight:g}"
        )

    def value(self, image: Tensor, prob: Tensor) -> Tensor:
        return self._loss(image, prob, torch.ones_like(image[:, :1]))

    def kernel(self, place: torch.device) -> str:
        chosen = backend(place)
        return f"{chosen.name} on {place} ({chosen.reason})"


class LayersTerm:
    """The loss of some layers over the blobs image, prob, label and mask.

    Args:
        text: the layers in prototxt's text, or the fields of one layer. A loss without a loss_weight has the
            weight 1.
        where: where the text comes from, for messages.
        label: uint8 [H, W], the blob label; None if there is none.

    Raises:
        RlossError: the text does not parse, names another blob, or a layer refuses its settings.
    """

    def __init__(self, text: str, where: str = "--loss", label: np.ndarray | None = None) -> None:
        whole = text if text.lstrip().startswith(("layer ", "layer{", "#", "name")) else f"layer {{ {text} }}"
        file = parse_net(whole, where)
        for layer in file.param.layer:
            _complete(layer)
        self._file = file
        self._label = label
        self._used = _inputs(file, label is not None)
        losses = [layer for layer in file.param.layer if layer.loss_weight]
        self.name = " + ".join(layer.type for layer in losses)
        self.setting = " ".join(text.split())

    def value(self, image: Tensor, prob: Tensor) -> Tensor:
        blobs = {"image": image, "prob": prob, "mask": torch.ones_like(image[:, :1])}
        if self._label is not None:
            blobs["label"] = torch.from_numpy(self._label.astype(np.float32))[None, None].to(image.device)
        fed = {name: blobs[name] for name in self._used}
        param = type(self._file.param)()
        for name, blob in fed.items():
            source = param.layer.add(name=name, type="Input")
            source.top.append(name)
            source.input_param.shape.add().dim.extend(blob.shape)
        param.layer.extend(self._file.param.layer)
        file = replace(self._file, param=param, lines=(0,) * len(fed) + self._file.lines)
        return build_phase(file, "TRAIN", device=image.device).run(fed).loss

    def kernel(self, place: torch.device) -> str:
        chosen = backend(place)
        return f"layers on {place}; filters by {chosen.name} ({chosen.reason})"


def read_term(text: str, label: np.ndarray | None) -> LayersTerm:
    """The term of a prototxt file, or of the text itself."""
    if "\n" not in text and "{" not in text and Path(text).is_file():
        return LayersTerm(read_text(text), text, label)
    return LayersTerm(text, label=label)


def _complete(layer: LayerParameter) -> None:
    """A name, a top and the weight 1 for a loss that is given without them."""
    layer.name = layer.name or layer.type
    if layer.type.endswith("Loss"):
        if not layer.top:
            layer.top.append(layer.name)
        if not layer.loss_weight:
            layer.loss_weight.append(1.0)


def _inputs(file: NetFile, labelled: bool) -> list[str]:
    """The blobs that the layers take from outside."""
    made = {top for layer in file.param.layer for top in layer.top}
    used = dict.fromkeys(name for layer in file.param.layer for name in layer.bottom if name not in made)
    known = [name for name in BLOBS if labelled or name != "label"]
    for name in used:
        if name not in known:
            raise PrototxtError(
                "the layers name a blob that is not there",
                where=file.path,
                found=repr(name),
                expected=", ".join(known),
                advice="give the label image with --label" if name == "label" else "rename the bottom",
            )
    if "prob" not in used:
        raise PrototxtError(
            "the loss does not depend on the probabilities",
            where=file.path,
            found=", ".join(used) or "no bottom",
            expected='a layer with bottom: "prob"',
        )
    return list(used)
