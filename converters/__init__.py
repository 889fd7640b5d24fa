"""Converts a net with its weights to other formats, and one weights file to another.

rlossctl.convert("test.prototxt", "train_iter_9000.caffemodel", "model.onnx", placeholders={...})
rlossctl.convert("model.safetensors", None, "model.caffemodel")
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.converters.formats.rewrite import Rewritten, rewrite
from rlossctl.converters.formats.transfer import Transferred, transfer
from rlossctl.converters.nets.implied_net import Implied, implied_net
from rlossctl.converters.onnx.options import OnnxOptions
from rlossctl.converters.programs import Translated, read, translate
from rlossctl.converters.verifying.comparison import Verification
from rlossctl.errors import UsageError
from rlossctl.net.origin import DataOverrides, NetOrigin
from rlossctl.progress import stage
from rlossctl.weights import kinds

if TYPE_CHECKING:
    from rlossctl.converters.nets.inference_net import TrainedNet

# The module that writes a net with weights, by format. They import torch.
WRITERS = {
    kinds.CAFFEMODEL: "formats.caffemodel",
    kinds.CAFFEMODEL_H5: "formats.hdf5",
    kinds.SAFETENSORS: "formats.safetensors",
    kinds.CHECKPOINT: "formats.checkpoint",
    kinds.ONNX: "onnx.writer",
}

# The parts of a net with weights that these formats do not store.
LOST = {
    kinds.CAFFEMODEL_H5: "layer types and parameters; only names and blobs",
    kinds.ONNX: "what only training needs: losses, metrics, learning rates",
}


def convert(
    net: str | Path,
    weights: str | Path | None,
    out: str | Path,
    *,
    placeholders: Mapping[str, object] | None = None,
    outputs: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    dialect: str = "auto",
    allow_missing: bool = False,
    fold_bn: str | Path | None = None,
    root: str | Path | None = None,
    image_shape: tuple[int, int, int] | None = None,
    source_format: str | None = None,
    target_format: str | None = None,
    onnx_options: OnnxOptions | None = None,
) -> Verification | Rewritten | Transferred | Translated:
    """Writes a net with weights, or a single file, in another format, and checks the result.

    Args:
        net: a net prototxt; a test net gives scores at full size. Without `weights`, the only file: a
            prototxt or a caffemodel to upgrade (see `rewrite`), or weights for another format (see
            `transfer`). If the weights imply their net, as another program's checkpoint does, that net is
            converted. The configuration of a known training program (JSON, YAML, or its arguments) becomes a
            solver and nets (see `programs.translate`), and `out` is their folder.
        weights: caffemodel (binary or HDF5), safetensors, or a PyTorch checkpoint.
        out: the output file; its suffix sets the format. It appears complete and verified, or not at all.
        placeholders: values for the prototxt's `${NAME}`.
        outputs: blobs that an ONNX model returns (default: the scores).
        classes: class names for an ONNX model's metadata.
        dialect: the Caffe fork that the net is for, if the net does not show it.
        allow_missing: let the weights lack layers of the net, which keep their fillers' values; an ONNX,
            safetensors or PyTorch file then names them (`untrained`).
        fold_bn, root: a list of images (and its root folder) for the statistics to fold into SegNet's BN
            layers; `net` is then the training net.
        image_shape: (C, H, W), for a net whose data layer would have to read its images to know their size.
        source_format, target_format: names from `rlossctl.weights.kinds`; replace the formats found from the
            suffixes (and the input's content).
        onnx_options: heads, preprocessing inside, folding, precision and verification of an ONNX model.

    Raises:
        UsageError: the suffix is unknown, or the one format cannot be converted to the other.
        VerificationError: the written file does not compute the same as the net.
        RlossError: something is wrong with the input.
    """
    target = Path(out)
    if weights is None and (configuration := read(net)):
        return translate(configuration, target)
    kind = kinds.written_kind(target, target_format)
    if onnx_options and not onnx_options.none and kind != kinds.ONNX:
        raise UsageError(
            "these options are for ONNX files",
            where=out,
            found=f"the format {kind}",
            expected="an output file that ends in .onnx",
            advice="leave out --input, --fold, --head, --upsample, --with-preprocessing, --precision, "
            "--tolerance and --no-verify",
        )
    origin = NetOrigin(net, weights, placeholders or {}, dialect, allow_missing)
    data = DataOverrides(fold_bn, root, image_shape)
    request = _Request(target, kind, source_format, data, outputs, classes, onnx_options)
    if weights is None:
        return _convert_one(origin, request)
    trained = _open(origin, request)
    if fold_bn:
        from rlossctl.converters.folding import bn_statistics

        with stage("computing statistics"):
            trained = replace(trained, notes=(*trained.notes, *bn_statistics.fold_bn(trained.net)))
    return _write(trained, request)


@dataclass(frozen=True)
class _Request:
    """What `convert` should write, and how; `target` and `kind` are the formats of output and input."""

    out: Path
    target: str
    kind: str | None
    data: DataOverrides
    outputs: Sequence[str] | None
    classes: Sequence[str] | None
    onnx: OnnxOptions | None


def _convert_one(origin: NetOrigin, request: _Request) -> Verification | Rewritten | Transferred:
    """Converts a single file: upgraded, with the net that it implies, or as weights without a net."""
    file, out, target = Path(origin.prototxt), request.out, request.target
    kind = request.kind or kinds.kind_of(file)
    if kind == kinds.PROTOTXT or (kind == kinds.CAFFEMODEL and target in (kinds.CAFFEMODEL, kinds.PROTOTXT)):
        return rewrite(origin, out, kind, target)
    with implied_net(origin, kind) as implied:
        if implied is None or (implied.inside and target in (kinds.SAFETENSORS, kinds.CHECKPOINT)):
            return transfer(file, out, kind, target)
        if target == kinds.PROTOTXT:
            return rewrite(implied.origin, out, kinds.PROTOTXT, target, _sources(implied))
        trained = _open(implied.origin, replace(request, kind=kind))
        return _write(replace(trained, notes=(f"net: {implied.reason}", *trained.notes)), request)


def _sources(implied: Implied) -> dict[str, Path]:
    """The files behind an implied net; a net inside the weights does not count as one."""
    assert implied.origin.weights is not None
    weights = {"weights": Path(implied.origin.weights)}
    return weights if implied.inside else {"prototxt": Path(implied.origin.prototxt), **weights}


def _open(origin: NetOrigin, request: _Request) -> TrainedNet:
    from rlossctl.converters.nets.inference_net import open_trained

    with stage("reading net and weights"):
        return open_trained(
            origin,
            request.data,
            request.kind,
            outputs=request.outputs,
            start=request.onnx.start if request.onnx else None,
            classes=request.classes,
            whole=request.target != kinds.ONNX,
        )


def _write(trained: TrainedNet, request: _Request) -> Verification:
    writer = WRITERS.get(request.target)
    if writer is None:
        raise UsageError(
            "a net with weights cannot be written as a prototxt",
            where=request.out,
            found=f"the format {request.target}",
            expected=", ".join(WRITERS),
            advice="to upgrade a prototxt, give only the prototxt",
        )
    if request.target == kinds.ONNX:
        return _write_onnx(trained, request.out, request.onnx or OnnxOptions())
    verification: Verification = importlib.import_module(f"{__name__}.{writer}").write(trained, request.out)
    return verification


def _write_onnx(trained: TrainedNet, out: Path, options: OnnxOptions) -> Verification:
    from rlossctl.converters.model_folder import require_new, write_folder
    from rlossctl.converters.onnx import writer as onnx

    if options.card is None:
        return onnx.write(trained, out, options)
    require_new(options.card)
    written = onnx.write(trained, out, options)
    note = write_folder(options.card, trained, out, options, written)
    return replace(written, notes=(*written.notes, note))


__all__ = ["OnnxOptions", "Rewritten", "Transferred", "Translated", "Verification", "convert"]
