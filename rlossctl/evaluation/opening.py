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
from rlossctl.evaluation.runners import LabelRunner, Runner, open_onnx

TRAIN = 0  # the value of Caffe's Phase


@dataclass(frozen=True)
class OpenedModel:
    """A runner, and the list to evaluate it on.

    Attributes:
        name: the model file's name without folder and suffix.
        source, root: the list and the folder of its names, as the caller or else the data layer says.
        notes: sentences that the user should read.
    """

    name: str
    runner: Runner | LabelRunner
    source: str
    root: str
    notes: tuple[str, ...] = ()


def open_model(
    model: str,
    weights: str | None = None,
    device: str = "auto",
    placeholders: Mapping[str, object] | None = None,
    source: str | None = None,
    root: str | None = None,
    dialect: str = "auto",
) -> OpenedModel:
    """Opens an ONNX file, or a prototxt with weights.

    Args:
        model: a file name; `.onnx` is run by ONNX Runtime, anything else is read as a prototxt.
        weights: caffemodel for the prototxt.
        device: auto, cpu, cuda or cuda:N.
        placeholders: values for the prototxt.
        source, root: in place of those of the prototxt's data layer.
        dialect: whose Caffe the prototxt is for.

    Raises:
        UsageError: weights are missing or too many, or no list is named.
        RlossError: whatever is wrong with the files.
    """
    if Path(model).suffix == ".onnx":
        opened = _open_onnx(model, weights, device, placeholders or {}, source, root)
    else:
        opened = _open_prototxt(model, weights, device, placeholders or {}, source, root, dialect)
    if not opened.source:
        raise UsageError(
            "no list of images is named",
            where=model,
            expected="--data LIST, or a prototxt whose ImageSegData layer names one",
            advice="add --data LIST --root DIR",
        )
    return opened


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
    return OpenedModel(Path(model).stem, open_onnx(model, device), source or "", root or "")


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
    from rlossctl.evaluation.torch_runner import TorchRunner, image_source
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
    return OpenedModel(Path(model).stem, TorchRunner(net, device), source or "", root or "", notes)


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
