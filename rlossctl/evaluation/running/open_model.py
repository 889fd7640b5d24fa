"""From what a user names (a model, a list, overrides) to what `evaluate` takes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlossctl.data.lists import Sample, find_label_dir, read_list
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import UsageError
from rlossctl.evaluation.running.runners import LabelRunner, Runner, open_onnx
from rlossctl.evaluation.scoring.state import hash_files
from rlossctl.weights import kinds

TRAIN = 0  # the value of Caffe's Phase


@dataclass(frozen=True)
class OpenedModel:
    """A runner, and the list to evaluate it on.

    Attributes:
        name: the model file's name without folder and suffix.
        fingerprint: a hash of the model's content, for a state file.
        source, root: the list and the folder of its names, as the caller or else the data layer says.
        notes: sentences that the user should read.
    """

    name: str
    fingerprint: str
    runner: Runner | LabelRunner
    source: str
    root: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Named:
    """A model as the command line names it: an ONNX file, or a prototxt with weights."""

    name: str
    model: str
    weights: str | None = None


def pair_models(arguments: Sequence[str], names: Sequence[str] | None = None) -> list[Named]:
    """What the arguments of a command name: ONNX files, and prototxts followed by one or more weights.

    Several weights after one prototxt are several models. A model is called by its file's name without
    suffix, by that of the weights where a prototxt has several, and with its folder where two would share
    a name.

    Args:
        names: call them so instead, in this order.

    Raises:
        UsageError: weights without a prototxt, a prototxt without weights, or names that do not fit.
    """
    models: list[Named] = []
    prototxt, used = None, True
    for argument in arguments:
        kind = kinds.named_kind(argument)
        if kind in (kinds.ONNX, kinds.PROTOTXT):
            _check_used(prototxt, used)
        if kind == kinds.ONNX:
            models.append(Named(Path(argument).stem, argument))
            prototxt, used = None, True
        elif kind == kinds.PROTOTXT:
            prototxt, used = argument, False
        elif prototxt is not None:
            models.append(Named(Path(argument).stem, prototxt, argument))
            used = True
        else:
            after_onnx = bool(models)
            raise UsageError(
                "an ONNX file is complete" if after_onnx else "this is neither an ONNX file nor a prototxt",
                where=argument,
                found="weights without a prototxt before them",
                expected="NET.onnx, or NET.prototxt followed by its weights",
                advice="name the prototxt before its weights, or leave them out",
            )
    _check_used(prototxt, used)
    return _name(models, names)


def split_weights(model: str, arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The weights of a model that is a prototxt, and the rest of the arguments behind it.

    Raises:
        UsageError: nothing is left.
    """
    if Path(model).suffix.lower() == ".onnx":
        return None, list(arguments)
    if len(arguments) < 2:
        raise UsageError(
            "weights and photos are needed behind a prototxt",
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
    weights = [model.weights for model in models if model.weights]
    if len(weights) == len(models) == 1:
        return [dataclasses.replace(models[0], name=Path(models[0].model).stem)]
    called = [model.name for model in models]
    if len(set(called)) < len(called):
        called = [str(Path(model.weights or model.model).with_suffix("")) for model in models]
    if len(set(called)) < len(called):
        raise UsageError("two models are the same", found=", ".join(called), advice="name each once")
    return [dataclasses.replace(model, name=name) for model, name in zip(models, called, strict=True)]


def open_model(
    model: str,
    weights: str | None = None,
    device: str = "auto",
    placeholders: Mapping[str, object] | None = None,
    source: str | None = None,
    root: str | None = None,
    dialect: str = "auto",
    name: str | None = None,
    listed: bool = True,
) -> OpenedModel:
    """Opens an ONNX file, or a prototxt with weights.

    Args:
        model: a file name; `.onnx` is run by ONNX Runtime, anything else is read as a prototxt.
        weights: caffemodel for the prototxt.
        device: auto, cpu, cuda or cuda:N.
        placeholders: values for the prototxt.
        source, root: in place of those of the prototxt's data layer.
        dialect: whose Caffe the prototxt is for.
        name: call the model so.
        listed: a list must be named, here or in the prototxt.

    Raises:
        UsageError: weights are missing or too many, or no list is named.
        RlossError: whatever is wrong with the files.
    """
    if Path(model).suffix == ".onnx":
        opened = _open_onnx(model, weights, device, placeholders or {}, source, root)
    else:
        opened = _open_prototxt(model, weights, device, placeholders or {}, source, root, dialect)
    if listed and not opened.source:
        raise UsageError(
            "no list of images is named",
            where=model,
            expected="--data LIST, or a prototxt whose ImageSegData layer names one",
            advice="add --data LIST --root DIR",
        )
    return opened if name is None else dataclasses.replace(opened, name=name)


def _open_onnx(
    model: str,
    weights: str | None,
    device: str,
    placeholders: Mapping[str, object],
    source: str | None,
    root: str | None,
) -> OpenedModel:
    if weights or placeholders:
        raise UsageError(
            "an ONNX file is complete",
            where=model,
            found=f"weights {weights}" if weights else "--set",
            expected="the ONNX file alone",
            advice="leave them out, or name the prototxt instead of the ONNX file",
        )
    runner = open_onnx(model, device)
    return OpenedModel(Path(model).stem, hash_files([model]), runner, source or "", root or "")


def _open_prototxt(
    model: str,
    weights: str | None,
    device: str,
    placeholders: Mapping[str, Any],
    source: str | None,
    root: str | None,
    dialect: str,
) -> OpenedModel:
    if weights is None:
        raise UsageError(
            "a prototxt cannot be evaluated without weights",
            where=model,
            expected="PROTOTXT WEIGHTS",
            advice="add the caffemodel after the prototxt",
        )
    from rlossctl.evaluation.running.torch_runner import TorchRunner, image_source
    from rlossctl.net.build import load_inference_net
    from rlossctl.net.parameters import coverage_notes

    named = {"source": source, "root": root}
    net = load_inference_net(model, data=named, placeholders=placeholders, dialect=dialect)
    notes = coverage_notes(*net.copy_from(weights), net.params, weights)
    images = image_source(net)
    if images is not None and net.param.state.phase != TRAIN:
        # A training net's list is never taken without being named: its scores would mean nothing.
        source = images.source if source is None else source
        root = images.root if root is None else root
    # The net as it is after placeholders and phase rules, whatever file it came from.
    fingerprint = hash_files([weights], {"net": str(net.param), "dialect": dialect})
    runner = TorchRunner(net, device)
    return OpenedModel(Path(model).stem, fingerprint, runner, source or "", root or "", notes)


def open_list(source: str, root: str | os.PathLike[str] = "", label_dir: str | None = None) -> list[Sample]:
    """Reads a list of `image label` lines, or one of bare VOC ids.

    Args:
        source: the list file.
        root: put before the names.
        label_dir: folder of the labels below root, for bare ids; found where it has one of VOC's names.

    Raises:
        DataError: as for `read_list`: a missing list, a line of one column, ...
    """
    return read_list(source, root, label_dir=label_dir or find_label_dir(source, root))


def override_preprocess(
    base: Preprocess | None,
    mean: Sequence[float] | None = None,
    scale: float | None = None,
    rgb: bool = False,
    crop: tuple[int, int] | None = None,
) -> Preprocess | None:
    """The model's preprocessing with what was named replaced; None where neither says a mean."""
    if base is None and mean is None:
        return None
    changes: dict[str, Any] = {"mean_bgr": mean and tuple(mean), "scale": scale, "crop": crop}
    changes["channel_order"] = "rgb" if rgb else None
    named = {key: value for key, value in changes.items() if value is not None}
    return dataclasses.replace(base or Preprocess(), **named)
