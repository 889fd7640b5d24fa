"""Reports on weights: caffemodels, HDF5, solver states, means, safetensors and PyTorch checkpoints.

Values are read only to find any that are not finite.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.errors import WeightsError
from rlossctl.inspection.report import Report, dims, size, table
from rlossctl.weights import kinds, provenance
from rlossctl.weights.finite import NotFinite, describe, not_finite, not_finite_in
from rlossctl.words import counted

if TYPE_CHECKING:
    from rlossctl.weights import CaffeModel, Hdf5Model, TensorFile

FORMS = {"LayerParameter": "V2", "V1LayerParameter": "V1"}
FLOAT_BYTES = 4


def weights_report(path: Path, kind: str) -> Report:
    """The report on a weights file of any format."""
    if kind == kinds.SOLVERSTATE:
        return _state_report(path)
    if kind == kinds.MEAN:
        return _mean_report(path)
    if kind == kinds.SAFETENSORS:
        from rlossctl.weights.safetensors import load_safetensors

        return _tensors_report(path, load_safetensors(path))
    if kind == kinds.CHECKPOINT:
        from rlossctl.weights.checkpoint import load_checkpoint

        return _tensors_report(path, load_checkpoint(path))
    from rlossctl.weights import load_caffemodel

    return _caffemodel_report(path, load_caffemodel(path))


def _caffemodel_report(path: Path, model: CaffeModel | Hdf5Model) -> Report:
    from rlossctl.weights import CaffeModel

    layers = [
        (layer.name, layer.type, [list(blob.shape) for blob in layer.blobs if blob]) for layer in model.layers
    ]
    blobs = [blob for layer in model.layers for blob in layer.blobs if blob]
    count = sum(blob.count for blob in blobs)
    rows = [(name, kind or "-", " ".join(map(dims, shapes))) for name, kind, shapes in layers if shapes]
    lines = [f"caffemodel of net {model.name!r}: {counted(len(layers), 'layer')}, {len(rows)} with blobs"]
    content: dict[str, object] = {"kind": "caffemodel", "file": str(path), "name": model.name}
    content["format"] = model.format
    if isinstance(model, CaffeModel):
        form, (dialect, reason) = _form(model), _dialect(model)
        legacy = sum(blob.legacy for blob in blobs)
        lines += [f"form {form}", f"dialect {dialect}: {reason}"]
        lines += [f"{counted(legacy, 'blob')} with the old four dimensions"] if legacy else []
        content |= {"form": form, "dialect": dialect, "dialect_reason": reason, "legacy_shapes": legacy}
    else:
        source = provenance.read(model.metadata.get(provenance.KEY, ""))
        lines += ["HDF5: types and parameters of the layers are not in the file", *provenance.lines(source)]
        content["source"] = source
    broken = _not_finite(model)
    content |= {"not_finite": [each._asdict() for each in broken]}
    lines += ["", *table(("layer", "type", "blobs"), rows), ""]
    lines += [f"values          {count:,} ({size(FLOAT_BYTES * count)}); shared blobs count in every layer"]
    lines += _broken_lines(broken)
    entries = [{"name": name, "type": kind, "blobs": shapes} for name, kind, shapes in layers]
    return Report({**content, "layers": entries, "values": count}, lines)


def _not_finite(model: CaffeModel | Hdf5Model) -> list[NotFinite]:
    from rlossctl.weights import CaffeModel

    if isinstance(model, CaffeModel):
        return not_finite_in(model)
    return list(
        not_finite(
            (f"layer {layer.name!r} blob {index}", blob.array())
            for layer in model.layers
            for index, blob in enumerate(layer.blobs)
            if blob is not None
        )
    )


def _broken_lines(broken: list[NotFinite]) -> list[str]:
    """The line about values that are not finite; empty if there are none."""
    if not broken:
        return []
    return [
        f"NOT FINITE      {counted(len(broken), 'blob')} with NaN or infinity: {describe(broken)}",
    ]


def _form(model: CaffeModel) -> str:
    """V2, V1 or V0, from the types of the layers' messages."""
    kinds_of = {layer.message_type for layer in model.layers}
    if kinds_of == {"V1LayerParameter"} and all(_is_v0(layer.message_bytes()) for layer in model.layers):
        return "V0"
    return "V1" if "V1LayerParameter" in kinds_of else "V2"


def _is_v0(message: bytes) -> bool:
    return message[:1] == b"\x0a"  # field 1 of a V1LayerParameter: the V0 layer inside


def _dialect(model: CaffeModel) -> tuple[str, str]:
    """The dialect and how it was found: by types, or by field numbers if SegNet and ENet share a type."""
    from rlossctl.prototxt import dialect

    found = dialect.by_types(model.layers)
    if found[0] == "segnet":
        from rlossctl.prototxt import wire

        return wire.decode_net(model.message_bytes(), model.path)[1:]
    return found


def _state_report(path: Path) -> Report:
    from rlossctl.weights import load_solverstate

    state = load_solverstate(path)
    shapes = [list(array.shape) for array in state.history]
    count = sum(array.size for array in state.history)
    broken = list(not_finite((f"history {index}", array) for index, array in enumerate(state.history)))
    lines = [
        f"solver state after {counted(state.iter, 'iteration')}",
        f"weights         {state.learned_net or '-'}",
        f"learning-rate step {state.current_step}" + ("" if state.has_current_step else " (not in the file)"),
        f"history         {counted(len(shapes), 'array')}, {count:,} values ({size(FLOAT_BYTES * count)})",
        "",
        *table(("index", "shape"), [(str(index), dims(shape)) for index, shape in enumerate(shapes)]),
        *_broken_lines(broken),
    ]
    content: dict[str, object] = {
        "iteration": state.iter,
        "learned_net": state.learned_net,
        "current_step": state.current_step,
    }
    content |= {"history": shapes, "not_finite": [each._asdict() for each in broken]}
    return Report({"kind": "solverstate", "file": str(path), **content}, lines)


def _mean_report(path: Path) -> Report:
    from rlossctl.weights import load_blob

    blob = load_blob(path)
    array = blob.array()
    channels = (
        array.reshape(-1, *array.shape[-2:]).mean((1, 2)).tolist() if array.ndim >= 3 and array.size else []
    )
    broken = list(not_finite([("the mean", array)]))
    lines = [
        f"one blob, {dims(blob.shape)}",
        f"mean by channel {', '.join(f'{mean:.3f}' for mean in channels)}",
        *_broken_lines(broken),
    ]
    content = {"kind": "mean", "file": str(path), "shape": list(blob.shape), "mean": channels}
    content |= {"not_finite": [each._asdict() for each in broken]}
    return Report(content, lines)


def _tensors_report(path: Path, file: TensorFile) -> Report:
    count = sum(entry.count for entry in file.tensors.values())
    head = f"{file.format}: {counted(len(file.tensors), 'tensor')}" + (
        f" in {file.inside!r}" if file.inside else ""
    )
    origin = _origin(file)
    source = provenance.read(file.metadata.get(provenance.KEY, ""))
    lines = [head, origin, *provenance.lines(source)]
    lines += [f"{name:<15} {text}" for name, text in file.others.items()]
    for name, text in file.metadata.items():
        lines.append(f"metadata        {name}: {len(text):,} characters")
    rows = [(name, entry.dtype, dims(entry.shape)) for name, entry in file.tensors.items()]
    lines += ["", *table(("tensor", "type", "shape"), rows), "", f"values          {count:,}"]
    broken = list(not_finite((f"tensor {name!r}", entry.read()) for name, entry in file.tensors.items()))
    lines += _broken_lines(broken)
    content = {
        "kind": file.format,
        "file": str(path),
        "origin": origin,
        "source": source,
        "metadata": sorted(file.metadata),
        "others": dict(file.others),
        "tensors": {
            name: {"type": entry.dtype, "shape": list(entry.shape)} for name, entry in file.tensors.items()
        },
        "values": count,
        "not_finite": [each._asdict() for each in broken],
    }
    return Report(content, lines)


def _source(file: TensorFile) -> str:
    """The name of the weights that a file was made from."""
    return (
        provenance.read(file.metadata.get(provenance.KEY, ""))
        .get("weights", {})
        .get("name", "an unknown file")
    )


def _origin(file: TensorFile) -> str:
    """One line on which program wrote the tensors."""
    if file.is_ours:
        return f"written by rlossctl convert, from {_source(file)}"
    from rlossctl.converters import importers

    try:
        program = importers.recognise(file)
    except WeightsError:
        return "not from a program that rlossctl convert knows"
    network, placeholders, words = importers.fit(file)
    values = "".join(f", {name} {value}" for name, value in placeholders.items())
    words = f" ({words})" if words else ""
    return f"recognised as {program.title} ({program.name}): the net {network}{values}{words}"
