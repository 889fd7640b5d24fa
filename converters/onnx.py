"""ONNX: one file, dynamic batch, height and width, checked with ONNX Runtime on several sizes."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rlossctl.converters.source import ConversionSource
from rlossctl.converters.verify import TOLERANCE, Comparison, Verification, accept, compare

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError
from rlossctl.files import atomic_write
from rlossctl.net.deploy import Deploy, preprocess_of

OPSET = 18
METADATA_KEY = "rlossctl"
AXES = {0: "batch", 2: "height", 3: "width"}
FIXED_SIZE_TYPES = ("InnerProduct", "SPP", "Upsample")  # made for one input size


def write(source: ConversionSource, out: Path) -> Verification:
    """Exports the scores (or the named outputs) as a function of the preprocessed image batch.

    Metadata key "rlossctl" holds JSON: preprocess, classes, num_classes, input, scores, source, version.

    Raises:
        NetError: a layer cannot be exported.
        VerificationError: ONNX Runtime computes something else; nothing is written then.
    """
    deploy = source.deploy()
    _refuse_unexportable(deploy)
    for layer in deploy.layers:
        layer.module.settle()
    preprocess = preprocess_of(source.net, deploy)
    fixed = [layer for layer in deploy.layers if layer.type in FIXED_SIZE_TYPES]
    model = _export(deploy, preprocess, dynamic=not fixed)
    _describe(model, source, deploy, preprocess)
    data = model.SerializeToString()
    notes = source.notes
    if fixed:
        notes += (f"note: height and width are fixed by layer {fixed[0].name!r} ({fixed[0].type})",)
    sizes = [deploy.input_shape[2:]] if fixed else list(trial_sizes(preprocess))
    comparisons = tuple(_compare(deploy, data, sizes))
    verification = accept(
        Verification(str(out), "ONNX Runtime on the CPU against PyTorch", TOLERANCE, comparisons, notes)
    )
    with atomic_write(out) as file:
        file.write(data)
    return verification


def trial_sizes(preprocess: Preprocess | None) -> Iterator[tuple[int, int]]:
    """Small heights and widths that the net's size rule allows, and one that it does not."""
    stride, offset = (preprocess.stride, preprocess.offset) if preprocess else (1, 0)
    for rows, columns in ((64, 64), (96, 72), (72, 128)):
        yield rows // stride * stride + offset, columns // stride * stride + offset
    yield 75, 90


def _refuse_unexportable(deploy: Deploy) -> None:
    for layer in deploy.layers:
        if not layer.node.kind.onnx:
            raise layer.module.error(
                "this type cannot be exported to ONNX",
                found=layer.type,
                expected="layers that compute their tops from the image alone",
                advice="name an output that comes before this layer (--output BLOB)",
            )
        if layer.module.unexportable:
            raise layer.module.error(
                "this layer cannot be exported to ONNX",
                found=layer.module.unexportable,
                expected="layers that give one answer, computed from the image alone",
                advice="change or delete what is named, or name an output before this layer (--output BLOB)",
            )


def _export(deploy: Deploy, preprocess: Preprocess | None, *, dynamic: bool):
    rows, columns = next(trial_sizes(preprocess)) if dynamic else deploy.input_shape[2:]
    example = torch.zeros((2, deploy.input_shape[1], rows, columns))
    axes = AXES if dynamic else {0: "batch"}
    shapes = (dict.fromkeys(axes, torch.export.Dim.DYNAMIC),)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch's exporter deprecates parts of itself
            program = torch.onnx.export(
                deploy,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[_end(0)],
                output_names=[_end(number + 1) for number in range(len(deploy.output_names))],
                dynamic_shapes=shapes,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter raises many types
        raise NetError(
            "cannot be exported to ONNX",
            found=str(error).strip().split("\n")[0][:300],
            expected="layers that torch.onnx.export supports",
            advice="name an output that comes before the layer that fails (--output BLOB)",
        ) from error
    model = program.model_proto
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    if opset != OPSET:
        raise NetError("was exported with another opset", found=opset, expected=OPSET)
    _name_axes(model, axes)
    _name_ends(model, [deploy.input_name, *deploy.output_names])
    return model


def _end(number: int) -> str:
    """What an input or output is called during the export, which may use the blobs' names for its own."""
    return f"rlossctl.end.{number}"


def _name_ends(model, blobs: list[str]) -> None:
    """Gives the input and the outputs their blobs' names, and another name to what else is called so."""
    names = {blob: f"{blob}.inner" for blob in blobs} | {_end(n): blob for n, blob in enumerate(blobs)}
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]


def _name_axes(model, axes: dict[int, str]) -> None:
    """Gives torch's symbols (s77) the names of what they measure."""
    names = {}
    for axis, name in axes.items():
        names[model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param] = name
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param in names:
                dimension.dim_param = names[dimension.dim_param]


def _describe(model, source: ConversionSource, deploy: Deploy, preprocess: Preprocess | None) -> None:
    scores = deploy.output_names[0]
    shape = source.net.shapes[scores]
    origin = source.origin()
    entry = model.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = json.dumps(
        {
            "preprocess": None if preprocess is None else preprocess.to_json(),
            "classes": source.classes,
            "num_classes": shape[1] if len(shape) > 1 else None,
            "input": deploy.input_name,
            "scores": scores,
            "source": {kind: origin[kind] for kind in ("prototxt", "weights")},
            "version": origin["tool"]["version"],
        }
    )
    model.producer_name = "rlossctl"
    model.producer_version = origin["tool"]["version"]
    model.graph.name = source.net.name or source.prototxt.stem


def _compare(deploy: Deploy, data: bytes, sizes: list[tuple[int, int]]) -> Iterator[Comparison]:
    """Random images of the magnitude of mean-subtracted pixels, batches of 1 and 2."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    for number, (rows, columns) in enumerate(sizes):
        shape = (1 + number % 2, deploy.input_shape[1], rows, columns)
        image = (generator.standard_normal(shape) * 60).astype(np.float32)
        try:
            with torch.no_grad():
                expected = deploy(torch.from_numpy(image))
        except RuntimeError:  # a net with branches may refuse the size that breaks its rule
            if number == 0:
                raise
            continue
        found = session.run(None, {deploy.input_name: image})
        for name, left, right in zip(deploy.output_names, found, expected, strict=True):
            yield compare("x".join(map(str, shape)), name, left, right.numpy())
