"""8-bit integers: ONNX Runtime's static quantization, and the layers that it leaves out."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rlossctl.converters.onnx.naming import rename
from rlossctl.converters.onnx.options import OnnxOptions
from rlossctl.converters.onnx.quantizable import give_whole_sizes
from rlossctl.converters.verifying.trials import photo_trials, read_photos
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto


SUFFIXES = ("_scale", "_zero_point")  # ONNX Runtime adds weights with these names to those of values


def quantize(
    model: ModelProto,
    blobs: Mapping[str, str],
    keep: Collection[str],
    options: OnnxOptions,
    preprocess: Preprocess | None,
    ranges: Path | None = None,
) -> ModelProto:
    """The model in QDQ form: int8 weights with a scale for each output channel, and one scale for each blob.

    Blobs of 16 bits have QuantizeLinear of opset 21.

    Args:
        blobs: for each value that is a blob, name -> layer.
        keep: layers that stay in float32.
        ranges: a file for the blobs' ranges, read if it exists.

    Raises:
        UsageError: it is unknown how to prepare photos, or a photo is larger than the net takes.
        DataError: the list or a photo cannot be read.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    methods = {
        "minmax": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
    }
    types = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8, "uint16": QuantType.QUInt16}
    with tempfile.TemporaryDirectory(prefix="rlossctl") as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        aside = {name: f"{name}.value" for name in blobs if name.endswith(SUFFIXES)}
        named = onnx.ModelProto()
        named.CopyFrom(model)
        rename(named, aside)
        give_whole_sizes(named)
        onnx.save(named, source)
        quantize_static(
            source,
            target,
            _Photos(model, options, preprocess),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=types[options.activations],
            weight_type=QuantType.QInt8,
            calibrate_method=methods[options.ranges],
            **({"calibration_cache_path": ranges} if ranges else {}),  # not in older ONNX Runtimes
            nodes_to_exclude=_nodes_of(model, blobs, keep),
            # One photo at a time (for every method, despite the name): histograms need all values of a pass.
            extra_options={"CalibStridedMinMax": 1},
        )
        quantized = onnx.load(target)
    # The blob is what the next layer reads; the value that ONNX Runtime left with its name may lack a ReLU.
    made = {name for node in quantized.graph.node for name in node.output}
    names = {}
    for blob in blobs:
        value = aside.get(blob, blob)
        read = f"{value}_DequantizeLinear_Output"
        names[read if read in made else value] = blob
    rename(quantized, {name: blob for name, blob in names.items() if name != blob})
    return quantized


class _Photos:
    """ONNX Runtime's CalibrationDataReader: the photos of a list, prepared on demand."""

    def __init__(self, model: ModelProto, options: OnnxOptions, preprocess: Preprocess | None) -> None:
        image = model.graph.input[0]
        shape = tuple(size.dim_value or None for size in image.type.tensor_type.shape.dim)
        photos = options.require_calibrate()
        self._name, self._count = image.name, len(read_photos(photos, options.root))
        self._trials = photo_trials(photos, options.root, preprocess, shape)
        self._left = 0

    def __len__(self) -> int:
        return self._count

    def set_range(self, start_index: int, end_index: int) -> None:
        """Selects the next photos, as many as the range has; ranges are consecutive."""
        self._left = end_index - start_index

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next photo of the range as the net's input."""
        if not self._left:
            return None
        self._left -= 1
        return {self._name: next(self._trials).image}


def chosen_layers(names: Iterable[str], patterns: Iterable[str]) -> set[str]:
    """The layers that match names or patterns (`conv1_*`).

    Raises:
        UsageError: one of them does not match a layer.
    """
    names, chosen = list(dict.fromkeys(names)), set()
    for pattern in patterns:
        fitting = {name for name in names if fnmatchcase(name, pattern)}
        if not fitting:
            close = get_close_matches(pattern, names, n=5, cutoff=0.5) or names[:5]
            raise UsageError(
                f"--int8-keep: no layer matches {pattern!r}",
                found=pattern,
                expected=f"one of {len(names)} layers, for example {', '.join(close)}",
                advice="correct the name (rlossctl inspect NET.prototxt lists them)",
            )
        chosen |= fitting
    return chosen


def _nodes_of(model: ModelProto, blobs: Mapping[str, str], layers: Collection[str]) -> list[str]:
    """Names of the nodes that compute the blobs of these layers."""
    found, owner = [], dict(blobs)
    for node in reversed(model.graph.node):  # a node that only leads to a layer's blob is part of the layer
        layer = next((owner[name] for name in node.output if name in owner), None)
        if layer in layers:
            found.append(node.name)
        if layer is not None:
            for name in node.input:
                owner.setdefault(name, layer)
    return found
