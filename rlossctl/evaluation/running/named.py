"""The models named on a command line: ONNX files, and prototxts followed by their weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rlossctl.errors import UsageError
from rlossctl.net.origin import NetOrigin
from rlossctl.weights import kinds

if TYPE_CHECKING:
    from rlossctl.net.net import Net
    from rlossctl.net.origin import DataOverrides

CHECKPOINTS = (kinds.CHECKPOINT, kinds.SAFETENSORS)


@dataclass(frozen=True)
class Reading:
    """What the user says about a model's answer; what is None is found in the model.

    Attributes:
        output: the name or number of the output to read, or of a prototxt's blob.
        num_classes: how many classes there are, for class ids whose number of classes the file does not tell.
    """

    output: str | None = None
    num_classes: int | None = None


class Imported(Protocol):
    """A net with the weights of another program's checkpoint.

    Attributes:
        net: the net, for inference.
        notes: what the user should know about the weights.
        untrained: layers without weights in the file.
    """

    @property
    def net(self) -> Net: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def untrained(self) -> tuple[str, ...]: ...


# Opens a prototxt with a checkpoint, or a checkpoint in the prototxt's place; the data replace the net's.
Importer = Callable[[NetOrigin, "DataOverrides"], Imported]


@dataclass(frozen=True)
class Named:
    """A model as named on the command line: an ONNX file, a prototxt with weights, or a checkpoint.

    Attributes:
        name: what to call it; "" means the file's name without folder and suffix.
        origin: its files and how to read them. An ONNX file, which ONNX Runtime runs, or a checkpoint may be
            in the prototxt's place.
        reading: what the user says about its answer.
        importer: opens checkpoints of other programs; None if they are not wanted.
    """

    name: str
    origin: NetOrigin
    reading: Reading = field(default_factory=Reading)
    importer: Importer | None = None

    @property
    def model(self) -> str:
        """The file of the model, or of its net."""
        return str(self.origin.prototxt)

    @property
    def is_imported(self) -> bool:
        """Whether its weights are a file of tensors, which may be another program's checkpoint."""
        return self.importer is not None and kinds.by_name(self.origin.weights or self.model) in CHECKPOINTS

    @property
    def is_onnx(self) -> bool:
        """Whether ONNX Runtime runs it."""
        return Path(self.model).suffix == ".onnx"


def pair_models(
    arguments: Sequence[str],
    names: Sequence[str] | None = None,
    origin: Callable[..., NetOrigin] = NetOrigin,
) -> list[Named]:
    """The models in a command's arguments: ONNX files, and prototxts followed by one or more weights.

    Several weights after one prototxt are several models. A model is named after its file, without the
    suffix. If a prototxt has several weights, each model is named after its weights. If two names would be
    the same, they include the folder.

    Args:
        names: use these names instead, in this order.
        origin: makes a NetOrigin of a prototxt and its weights, with the command's settings. ONNX files do
            not get them, unless all models are ONNX files: that is a mistake, which `open_model` reports.

    Raises:
        UsageError: weights without a prototxt, a prototxt without weights, or names that do not fit.
    """
    models: list[Named] = []
    prototxt, used = None, True
    of_onnx = origin if all(kinds.by_name(name) == kinds.ONNX for name in arguments) else NetOrigin
    for argument in arguments:
        kind = kinds.by_name(argument)
        if kind in (kinds.ONNX, kinds.PROTOTXT):
            _check_used(prototxt, used)
        if kind == kinds.ONNX:
            models.append(Named(Path(argument).stem, of_onnx(argument)))
            prototxt, used = None, True
        elif kind == kinds.PROTOTXT:
            prototxt, used = argument, False
        elif prototxt is None and kind in CHECKPOINTS:
            models.append(Named(Path(argument).stem, origin(argument)))
        elif prototxt is not None:
            models.append(Named(Path(argument).stem, origin(prototxt, argument)))
            used = True
        else:
            after_onnx = bool(models)
            raise UsageError(
                "an ONNX file has its weights inside"
                if after_onnx
                else "neither an ONNX file nor a prototxt",
                where=argument,
                found="weights without a prototxt before them",
                expected="NET.onnx, NET.prototxt followed by its weights, or a checkpoint (.pth)",
                advice="name the prototxt before its weights, or leave the weights out",
            )
    _check_used(prototxt, used)
    return _name(models, names)


def split_weights(model: str, arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The weights (if the model is a prototxt), and the rest of the arguments after the model.

    A checkpoint (.pth, .ckpt, .safetensors) in the prototxt's place has its weights inside.

    Raises:
        UsageError: nothing is left.
    """
    if kinds.by_name(model) in (kinds.ONNX, *CHECKPOINTS):
        return None, list(arguments)
    if len(arguments) < 2:
        raise UsageError(
            "weights and photos must follow a prototxt",
            where=model,
            found=", ".join(arguments),
            expected="PROTOTXT WEIGHTS INPUT...",
            advice="add the caffemodel after the prototxt",
        )
    return arguments[0], list(arguments[1:])


def _check_used(prototxt: str | None, used: bool) -> None:
    if prototxt is not None and not used:
        raise UsageError(
            "a prototxt cannot be evaluated without weights",
            where=prototxt,
            expected="PROTOTXT WEIGHTS",
            advice="add the caffemodel after the prototxt",
        )


def _name(models: list[Named], names: Sequence[str] | None) -> list[Named]:
    if names is not None:
        if len(names) != len(models) or len(set(names)) != len(names):
            raise UsageError(
                "the names do not fit the models",
                found=", ".join(names),
                expected=f"{len(models)} different names, in the order of the models",
            )
        return [dataclasses.replace(model, name=name) for model, name in zip(models, names, strict=True)]
    weights = [model.origin.weights for model in models if model.origin.weights]
    if len(weights) == len(models) == 1:
        return [dataclasses.replace(models[0], name=Path(models[0].model).stem)]
    called = [model.name for model in models]
    if len(set(called)) < len(called):
        called = [str(Path(model.origin.weights or model.model).with_suffix("")) for model in models]
    if len(set(called)) < len(called):
        raise UsageError("two models are the same", found=", ".join(called), advice="name each model once")
    return [dataclasses.replace(model, name=name) for model, name in zip(models, called, strict=True)]
