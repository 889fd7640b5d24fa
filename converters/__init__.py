"""From a net and its weights to other formats. One file per foreign format; the suffix decides.

rlossctl.convert("test.prototxt", "train_iter_9000.caffemodel", "model.onnx", placeholders={...})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rlossctl.converters import caffemodel, checkpoint, fold, onnx, safetensors
from rlossctl.converters.options import OnnxOptions
from rlossctl.converters.rewrite import Rewritten, rewrite
from rlossctl.converters.source import ConversionSource, open_source
from rlossctl.converters.verify import Verification

from rlossctl.errors import UsageError

Writer = Callable[[ConversionSource, Path], "Verification"]

WRITERS: dict[str, Writer] = {
    ".caffemodel": caffemodel.write,
    ".onnx": onnx.write,
    ".pt": checkpoint.write,
    ".safetensors": safetensors.write,
}


def convert(
    prototxt: str | Path,
    weights: str | Path | None,
    out: str | Path,
    *,
    placeholders: Mapping[str, object] | None = None,
    outputs: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    dialect: str = "auto",
    fold_bn: str | Path | None = None,
    root: str | Path | None = None,
    image_shape: tuple[int, int, int] | None = None,
    onnx_options: OnnxOptions | None = None,
) -> Verification | Rewritten:
    """Writes a net with weights in the format that the suffix of `out` names, and checks what was written.

    Args:
        prototxt: a net prototxt; a test net gives scores at full size.
        weights: caffemodel, binary or HDF5. None: `prototxt` alone is upgraded (see `rewrite`).
        out: .onnx, .safetensors, .caffemodel or .pt; it appears complete and verified, or not at all.
        placeholders: values for the prototxt's `${NAME}`.
        outputs: blobs that an ONNX model returns (default: the scores).
        classes: class names for an ONNX model's metadata.
        dialect: whose Caffe the net is for, where it does not show it.
        fold_bn, root: list of images (and the folder of its names) for the statistics that are folded into
            SegNet's BN layers; `prototxt` is then the training net.
        image_shape: (C, H, W), for a net whose data layer would look at its images to know their size.
        onnx_options: heads, preprocessing inside, folding, precision and verification of an ONNX model.

    Raises:
        UsageError: unknown suffix.
        VerificationError: what was written does not compute what the net computes.
        RlossError: whatever is wrong with the input.
    """
    target = Path(out)
    if weights is None:
        return rewrite(Path(prototxt), target, placeholders, dialect)
    if onnx_options and not onnx_options.none and target.suffix.lower() != ".onnx":
        raise UsageError(
            "these options are for ONNX files",
            where=out,
            found=f"suffix {target.suffix or '(none)'}",
            expected="an output that ends in .onnx",
            advice="leave out --fold, --head, --upsample, --with-preprocessing, --precision and --no-verify",
        )
    writer = WRITERS.get(target.suffix.lower())
    if writer is None:
        raise UsageError(
            "unknown format",
            where=out,
            found=f"suffix {target.suffix or '(none)'}",
            expected=", ".join(WRITERS),
            advice="name the output with one of these suffixes",
        )
    data = {"source": fold_bn, "root": root, "image_shape": image_shape}
    source = open_source(prototxt, weights, placeholders, outputs, classes, dialect, data)
    if fold_bn:
        source = replace(source, notes=(*source.notes, *fold.fold_bn(source.net)))
    if writer is onnx.write:
        return onnx.write(source, target, onnx_options)
    return writer(source, target)


__all__ = ["OnnxOptions", "Verification", "convert"]
