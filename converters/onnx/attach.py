"""Adds steps before and after a net inside an ONNX file: photos in, label maps out.

The pieces are written in ONNX's text form. They keep the order of operations of `Preprocess.apply` and
`evaluation.upsample`, so that they give the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from rlossctl.data.preprocess import Preprocess

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Head = Literal["scores", "softmax", "argmax"]
IMAGE, LABELS, PROBABILITIES, SCORES = "image", "labels", "probabilities", "full_scores"
BYTE_CLASSES = 256  # up to this many, labels are uint8
LABEL_TYPES = {True: 2, False: 7}  # ONNX's numbers for uint8 and int64
SOFTMAX = "{result} = Softmax <axis = 1> ({scores})"
ARGMAX = """
best = ArgMax <axis = 1, keepdims = 0, select_last_index = 1> ({scores})
{result} = Cast <to = {kind}> (best)
"""

PHOTO = """
pixels = Cast <to = 1> ({image})
ordered = Gather <axis = 3> (pixels, channels)
centred = Sub (ordered, mean)
scaled = Mul (centred, scale)
planes = Transpose <perm = [0, 3, 1, 2]> (scaled)
size = Shape <start = 1, end = 3> ({image})
missing = Sub (offset, size)
rest = Mod (missing, stride)
rounded = Add (size, rest)
longer = Greater (size, crop)
padded = Where (longer, rounded, crop)
beyond = Sub (padded, size)
pads = Concat <axis = 0> (no_pads, beyond)
{data} = Pad (planes, pads)
"""
# One axis of Caffe's Interp: source and target lengths, and how many of the target's positions to keep.
PLACES = """
{a}_source = Shape <start = {axis}, end = {next}> ({scores})
{a}_target = Gather (target, {a}_first)
{a}_steps = Sub ({a}_source, one)
{a}_gaps = Sub ({a}_target, one)
{a}_some = Max ({a}_gaps, one)
{a}_float_steps = Cast <to = 1> ({a}_steps)
{a}_float_gaps = Cast <to = 1> ({a}_some)
{a}_slope = Div ({a}_float_steps, {a}_float_gaps)
{a}_wide = Greater ({a}_gaps, zero)
{a}_ratio = Where ({a}_wide, {a}_slope, float_zero)
{a}_kept = Gather (kept, {a}_first)
{a}_end = Squeeze ({a}_kept)
{a}_count = Range (scalar_zero, {a}_end, scalar_one)
{a}_float_count = Cast <to = 1> ({a}_count)
{a}_place = Mul ({a}_float_count, {a}_ratio)
{a}_whole = Cast <to = 7> ({a}_place)
{a}_low = Min ({a}_whole, {a}_steps)
{a}_after = Add ({a}_low, one)
{a}_high = Min ({a}_after, {a}_steps)
{a}_float_low = Cast <to = 1> ({a}_low)
{a}_flat = Sub ({a}_place, {a}_float_low)
{a}_part = Reshape ({a}_flat, {a}_shape)
{a}_other = Sub (float_one, {a}_part)
{a}_here = Gather <axis = {axis}> ({scores}, {a}_low)
{a}_there = Gather <axis = {axis}> ({scores}, {a}_high)
{a}_near = Mul ({a}_here, {a}_other)
{a}_far = Mul ({a}_there, {a}_part)
{out} = Add ({a}_near, {a}_far)
"""
TARGET = """
target = Shape <start = 2, end = 4> ({data})
kept = Shape <start = {axis}, end = {end}> ({image})
"""


@dataclass(frozen=True)
class Ends:
    """The steps that a file adds before and after the net.

    Attributes:
        head: what it returns: scores, their softmax, or label maps (among equal scores, the larger id wins).
        upsample: whether scores are resized to the input's size by Caffe's Interp rule.
        preprocess: how photos become the net's input, if that is inside. The input is then uint8
            [N, H, W, 3], red first, and the output has the photos' size.
    """

    head: Head = "scores"
    upsample: bool = False
    preprocess: Preprocess | None = None

    def require_preprocess(self) -> Preprocess:
        """How photos become the net's input; raises ValueError if that is not inside."""
        if self.preprocess is None:
            raise ValueError("the file takes the net's input, not photos")
        return self.preprocess


def attach(model: ModelProto, ends: Ends, num_classes: int | None) -> tuple[str, str]:
    """Adds the ends before and after a model with one input and one output, in place.

    Returns:
        The names of the input and the output.
    """
    data, scores = model.graph.input[0].name, model.graph.output[0].name
    source, result = data, scores
    if ends.preprocess is not None:
        source = _put_photo_before(model, data, ends.preprocess)
    if ends.upsample:
        result = _put_upsampling_behind(model, data, source, result)
    if ends.head == "softmax":
        result = _put_behind(model, SOFTMAX, PROBABILITIES, scores=result)
    elif ends.head == "argmax":
        kind = LABEL_TYPES[(num_classes or 0) <= BYTE_CLASSES]
        result = _put_behind(model, ARGMAX.replace("{kind}", str(kind)), LABELS, scores=result)
    if result != scores:
        _declare_output(model, ends, result, num_classes)
    return source, result


def _put_photo_before(model: ModelProto, data: str, preprocess: Preprocess) -> str:
    from onnx import TensorProto, helper

    bgr = preprocess.channel_order == "bgr"
    mean = preprocess.mean_bgr if bgr else preprocess.mean_bgr[::-1]
    constants = {
        "channels": np.array([2, 1, 0] if bgr else [0, 1, 2]),
        "mean": np.array(mean, np.float32),
        "scale": np.array(preprocess.scale, np.float32),
        "offset": np.array(preprocess.offset),
        "stride": np.array(preprocess.stride),
        "crop": np.array(preprocess.crop or (0, 0)),
        "no_pads": np.zeros(6, np.int64),
    }
    names = _Names(model)
    image = names.free(IMAGE)
    nodes = _nodes(model, names, PHOTO, constants, image=image, data=data)
    old = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *old])
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    # Not "height" and "width", which are the size of the net's input, after padding.
    shape: list[str | int | None] = [batch, "photo_height", "photo_width", 3]
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info(image, TensorProto.UINT8, shape))
    return image


def _put_upsampling_behind(model: ModelProto, data: str, source: str, scores: str) -> str:
    photo = source != data
    constants = {
        **{f"{axis}_first": np.array([index]) for index, axis in enumerate(("rows", "columns"))},
        "rows_shape": np.array([-1, 1]),
        "columns_shape": np.array([-1]),
        "zero": np.array([0]),
        "one": np.array([1]),
        "scalar_zero": np.array(0),
        "scalar_one": np.array(1),
        "float_zero": np.array(0, np.float32),
        "float_one": np.array(1, np.float32),
    }
    text = (
        TARGET.replace("{axis}", "1" if photo else "2").replace("{end}", "3" if photo else "4")
        + PLACES.format(a="rows", axis=2, next=3, scores="{scores}", out="tall")
        + PLACES.format(a="columns", axis=3, next=4, scores="tall", out="{result}")
    )
    return _put_behind(model, text, SCORES, constants, data=data, image=source, scores=scores)


def _put_behind(
    model: ModelProto, text: str, result: str, constants: dict[str, np.ndarray] | None = None, **values: str
) -> str:
    names = _Names(model)
    name = names.free(result)
    model.graph.node.extend(_nodes(model, names, text, constants or {}, result=name, **values))
    return name


def _declare_output(model: ModelProto, ends: Ends, result: str, num_classes: int | None) -> None:
    from onnx import TensorProto, helper

    scores = model.graph.output[0]
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_param or "batch"
    sizes: list[str | int | None] = ["photo_height", "photo_width"]
    if ends.preprocess is None:
        entry = model.graph.input[0] if ends.upsample else scores
        sizes = [d.dim_param or d.dim_value for d in entry.type.tensor_type.shape.dim[2:]]
    if ends.head == "argmax":
        kind = LABEL_TYPES[(num_classes or 0) <= BYTE_CLASSES]
        output = helper.make_tensor_value_info(result, kind, [batch, *sizes])
    else:
        output = helper.make_tensor_value_info(result, TensorProto.FLOAT, [batch, num_classes, *sizes])
    model.graph.value_info.append(scores)
    del model.graph.output[:]
    model.graph.output.append(output)


class _Names:
    """Finds names that are still free in a graph."""

    def __init__(self, model: ModelProto) -> None:
        graph = model.graph
        self._taken = {name for node in graph.node for name in (*node.input, *node.output)}
        for entries in (graph.input, graph.output):
            self._taken.update(entry.name for entry in entries)
        self._taken.update(entry.name for entry in graph.initializer)

    def free(self, name: str) -> str:
        """`name`, or `name_1`, ..."""
        number, found = 0, name
        while found in self._taken:
            number += 1
            found = f"{name}_{number}"
        self._taken.add(found)
        return found


def _nodes(
    model: ModelProto, names: _Names, text: str, constants: dict[str, np.ndarray], **values: str
) -> list[NodeProto]:
    """The text's nodes, with inner values renamed if their names are taken; adds constants to the model.

    Args:
        values: the model's names for the text's {placeholders}.
    """
    from onnx import numpy_helper, parser

    marks = {f"{{{key}}}": f"mark_{key}" for key in values}
    for placeholder, mark in marks.items():
        text = text.replace(placeholder, mark)
    graph = parser.parse_graph(f"piece () => () {{ {text} }}")
    known = {f"mark_{key}": value for key, value in values.items()}
    for name in (*constants, *(name for node in graph.node for name in node.output)):
        known.setdefault(name, names.free(name))
    for node in graph.node:
        for entries in (node.input, node.output):
            entries[:] = [known.get(name, name) for name in entries]
        node.name = names.free(f"rlossctl.{node.output[0]}")
    for name, array in constants.items():
        array = array if array.dtype == np.float32 else array.astype(np.int64)
        model.graph.initializer.append(numpy_helper.from_array(array, known[name]))
    return list(graph.node)
