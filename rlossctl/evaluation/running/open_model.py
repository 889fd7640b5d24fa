"""Opens what a user names (a model, a list, overrides) for `evaluate`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlossctl.data.lists import Sample, find_label_dir, read_list
from rlossctl.data.palette import Palette
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError, UsageError
from rlossctl.evaluation.running.answers import NotNumbers
from rlossctl.evaluation.running.fingerprint import hash_files
from rlossctl.evaluation.running.named import Named, Reading
from rlossctl.evaluation.running.onnx_runners import OnnxLabelRunner, OnnxRunner
from rlossctl.evaluation.running.runners import LabelRunner, Runner
from rlossctl.evaluation.running.sessions import Session
from rlossctl.evaluation.running.wiring import wire
from rlossctl.weights.finite import NotFinite, describe


@dataclass(frozen=True)
class ImageList:
    """A list file of images and labels; what the user does not name is None.

    Attributes:
        file: the list's name, or None if nobody names one.
        root: put before the list's names; None takes it from the model's data layer.
        label_dir: the labels' folder below the root, for lists of bare VOC ids; None looks for it.
        limit: take only this many images; None takes all.
    """

    file: str | None = None
    root: str | None = None
    label_dir: str | None = None
    limit: int | None = None

    def read(self) -> list[Sample]:
        """The list's lines; raises as `open_list` does."""
        return open_list(self.file or "", self.root or "", self.label_dir)[: self.limit]


@dataclass(frozen=True)
class PreprocessOverrides:
    """The user's preprocessing, which replaces the model's; None keeps the model's.

    Attributes:
        mean: of blue, green and red, 0 to 255.
        scale: the factor applied after the mean is subtracted.
        rgb: feed red first.
        crop: (height, width) to pad images to.
        std: divides blue, green and red after the scale.
        multiple: (stride, offset): sides are padded to the next stride * k + offset.
    """

    mean: tuple[float, float, float] | None = None
    scale: float | None = None
    rgb: bool = False
    crop: tuple[int, int] | None = None
    std: tuple[float, float, float] | None = None
    multiple: tuple[int, int] | None = None

    def apply(self, base: Preprocess | None) -> Preprocess | None:
        """The model's preprocessing with these changes; None if neither has a mean.

        Raises:
            UsageError: the mean is one of pixels from 0 to 1.
        """
        if self.mean and min(self.mean) > 0 and max(self.mean) < 1:
            raise UsageError(
                "the mean is that of pixels from 0 to 1",
                found=f"--mean {','.join(f'{value:g}' for value in self.mean)}",
                expected="the mean of pixels from 0 to 255, blue first",
                advice="multiply it by 255; keep --std with --scale 0.00392157, or multiply it, too",
            )
        if base is None and self.mean is None:
            return None
        changes: dict[str, Any] = {"mean_bgr": self.mean and tuple(self.mean), "scale": self.scale}
        changes |= {"crop": self.crop, "channel_order": "rgb" if self.rgb else None, "std_bgr": self.std}
        changes |= dict(zip(("stride", "offset"), self.multiple or (None, None), strict=True))
        named = {key: value for key, value in changes.items() if value is not None}
        return dataclasses.replace(base or Preprocess(), **named)


@dataclass(frozen=True)
class OpenedModel:
    """A runner, and the list to evaluate it on.

    Attributes:
        name: what to call the model.
        fingerprint: a hash of the model's content, for a state file.
        images: the list and its root, from the caller or else from the data layer.
        notes: sentences that the user should read.
        warnings: reasons to doubt the result, to print above it.
        upright: whether the data layer turns photos as their EXIF orientation says.
        palette: the classes' colours, if the file has them.
        maps: whether labels are maps of edges, from 128 on class 1 (`ImageLabelmapData`), not class ids.
        threads: how many of the CPU's threads run it; None on a GPU.
    """

    name: str
    fingerprint: str
    runner: Runner | LabelRunner
    images: ImageList
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    upright: bool = False
    palette: Palette | None = None
    maps: bool = False
    threads: int | None = None

    @property
    def preprocess(self) -> Preprocess | None:
        """How to prepare images, as the model says; None if it does not say, or prepares them itself."""
        return self.runner.preprocess


def open_model(named: Named, device: str = "auto", images: ImageList | None = None) -> OpenedModel:
    """Opens an ONNX file, a prototxt with weights, or a checkpoint.

    Args:
        device: auto, cpu, cuda or cuda:N.
        images: the list; anything unset comes from the prototxt's data layer, and one of the two must name a
            list. None if no list is needed.

    Raises:
        UsageError: weights are missing or too many, or no list is named.
        RlossError: something is wrong with the files.
    """
    open_it = _open_onnx if named.is_onnx else _open_imported if named.is_imported else _open_prototxt
    opened = open_it(named, device, images or ImageList())
    if images is not None and not opened.images.file:
        raise UsageError(
            "no list of images is named",
            where=named.model,
            expected="--data LIST, or a prototxt whose data layer names one",
            advice="add --data LIST --root DIR",
        )
    return opened


@contextlib.contextmanager
def naming_weights(named: Named) -> Iterator[None]:
    """If scores are NaN, the error inside this context names an ONNX file's weights that are not finite.

    A prototxt's weights are checked earlier. An ONNX file may contain infinity on purpose, as a mask.
    """
    try:
        yield
    except NotNumbers as error:
        found = _not_finite(Path(named.model)) if named.is_onnx else []
        if not found:
            raise
        raise NetError(
            error.message,
            where=named.model,
            found=f"weights that are not finite numbers: {describe(found)}",
            expected="finite numbers",
            advice="convert an earlier snapshot: the training diverged after it, or this file is damaged",
        ) from error


def _not_finite(path: Path) -> list[NotFinite]:
    from rlossctl.weights.onnxfile import load_onnx, not_finite_tensors

    return not_finite_tensors(path, load_onnx(path))


def open_onnx(
    path: str | os.PathLike[str], device: str = "auto", reading: Reading | None = None
) -> OnnxRunner | OnnxLabelRunner:
    """The runner for an ONNX file: OnnxLabelRunner if it gives class ids, else OnnxRunner.

    Args:
        device: "cpu", "cuda", "cuda:1", "tensorrt", "tensorrt:1", or "auto" (CUDA if it works, else the CPU;
            `backend` says why).
        reading: what the user says about its answer.

    Raises:
        NetError: the file is not a usable model, or the requested device is not available.
        UsageError: as for `wire`.
    """
    return _runner_of(Session(Path(path), device), reading or Reading())


def _runner_of(model: Session, reading: Reading) -> OnnxRunner | OnnxLabelRunner:
    wiring = wire(model, reading)
    if wiring.answer.ids:
        return OnnxLabelRunner(model, wiring, reading)
    if model.gpu is not None:
        from rlossctl.evaluation.running.bound_runner import on_gpu

        return on_gpu(model, wiring)
    return OnnxRunner(model, wiring=wiring)


def _open_onnx(named: Named, device: str, images: ImageList) -> OpenedModel:
    if named.origin.weights or named.origin.placeholders:
        raise UsageError(
            "an ONNX file has its weights and settings inside",
            where=named.model,
            found=f"weights {named.origin.weights}" if named.origin.weights else "--set",
            expected="the ONNX file alone",
            advice="leave them out, or name the prototxt instead of the ONNX file",
        )
    session = Session(Path(named.model), device)
    runner = _runner_of(session, named.reading)
    warnings: tuple[str, ...] = ()
    if runner.untrained:
        warnings = (f"layers had no weights when {named.model} was made: {', '.join(runner.untrained)}",)
    notes = () if isinstance(runner, OnnxLabelRunner) and runner.takes_photos else runner.intake.notes()
    settings = {"output": named.reading.output} if named.reading.output else None
    fingerprint = hash_files([named.model], settings)
    return OpenedModel(
        _called(named),
        fingerprint,
        runner,
        images,
        notes,
        warnings,
        palette=runner.palette,
        threads=session.threads,
    )


def _open_prototxt(named: Named, device: str, images: ImageList) -> OpenedModel:
    model, weights = named.model, named.origin.weights
    if weights is None:
        raise UsageError(
            "a prototxt cannot be evaluated without weights",
            where=model,
            expected="PROTOTXT WEIGHTS",
            advice="add the caffemodel after the prototxt",
        )
    from rlossctl.data.sources.labelmap import LabelmapSource
    from rlossctl.evaluation.running.torch_runner import TorchRunner, image_source
    from rlossctl.net.build import load_inference_net
    from rlossctl.net.coverage import copy_covered, require_finite_layers
    from rlossctl.net.origin import DataOverrides
    from rlossctl.prototxt.messages import Phase
    from rlossctl.weights import load_weights

    net = load_inference_net(named.origin, DataOverrides(images.file, images.root))
    coverage = copy_covered(net, load_weights(weights), str(weights))
    runner = TorchRunner(net, device, named.reading.output)
    coverage.require(named.origin.allow_missing, runner.layers)
    require_finite_layers(net, str(weights), runner.layers)
    warning = coverage.warning(runner.layers)
    source = image_source(net)
    if source is not None and net.param.state.phase != Phase.TRAIN:
        # A training net's list must be named: scores on training images would mean nothing.
        images = dataclasses.replace(
            images,
            file=source.source if images.file is None else images.file,
            root=source.root if images.root is None else images.root,
        )
    # The net after placeholders and phase rules, whatever file it came from.
    settings = {"net": str(net.param), "dialect": named.origin.dialect}
    settings |= {"output": named.reading.output} if named.reading.output else {}
    fingerprint = hash_files([weights], settings)
    return OpenedModel(
        _called(named),
        fingerprint,
        runner,
        images,
        (*runner.intake.notes(), *coverage.notes(runner.layers)),
        (warning,) if warning else (),
        source is not None and source.upright,
        maps=isinstance(source, LabelmapSource) and not source.levels,
        threads=runner.threads,
    )


def _open_imported(named: Named, device: str, images: ImageList) -> OpenedModel:
    """Opens a checkpoint. The list of a net that it implies is not the user's."""
    from rlossctl.evaluation.running.torch_runner import TorchRunner, image_source
    from rlossctl.net.origin import DataOverrides

    assert named.importer is not None
    imported = named.importer(named.origin, DataOverrides(images.file, images.root))
    runner = TorchRunner(imported.net, device, named.reading.output)
    source = image_source(imported.net)
    settings = {"net": str(imported.net.param), "dialect": named.origin.dialect}
    settings |= {"output": named.reading.output} if named.reading.output else {}
    missing = ", ".join(imported.untrained)
    return OpenedModel(
        _called(named),
        hash_files([named.origin.weights or named.model], settings),
        runner,
        images,
        (*runner.intake.notes(), *imported.notes),
        (f"layers have no weights: {missing}",) if missing else (),
        source is not None and source.upright,
        threads=runner.threads,
    )


def _called(named: Named) -> str:
    return named.name or Path(named.model).stem


def open_list(file: str, root: str | os.PathLike[str] = "", label_dir: str | None = None) -> list[Sample]:
    """Reads a list of `image label` lines, or of bare VOC ids.

    Args:
        file: the list's name.
        root: put before the names.
        label_dir: the labels' folder below root, for bare ids; found if it has one of VOC's names.

    Raises:
        DataError: as for `read_list`: a missing list, a line with one column, ...
    """
    return read_list(file, root, label_dir=label_dir or find_label_dir(file, root))
