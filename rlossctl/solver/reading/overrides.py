"""What options put in place of the prototxts' values, in the parsed messages, once for all."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from rlossctl.data.sources.stream import Source
from rlossctl.errors import UsageError
from rlossctl.net import DataOverrides, build_net
from rlossctl.net.registry import kinds
from rlossctl.prototxt.messages import LayerParameter, NetParameter, SolverParameter
from rlossctl.prototxt.text import NetFile
from rlossctl.solver.reading.files import OF_TESTS, SolverFile
from rlossctl.solver.reading.options import TrainOptions


def solver_with(file: SolverFile, options: TrainOptions) -> SolverFile:
    """The solver with the intervals, lr, iter_size, max_iter and freeze of the options."""
    values = {
        "base_lr": options.lr,
        "iter_size": options.iter_size,
        "max_iter": options.max_iter,
        "snapshot": options.snapshot,
        "test_interval": options.test_interval or None,
    }
    file = file.changed(**{name: value for name, value in values.items() if value is not None})
    file.param.freeze.extend(options.freeze)
    return file.without(*OF_TESTS) if options.test_interval == 0 else file


def net_with(file: NetFile, options: TrainOptions) -> NetFile:
    """The training net with batch_size and crop of the options in its data layers.

    Raises:
        UsageError: it has no data layer with such a field.
    """
    if options.batch_size is None and options.crop is None:
        return file
    param = NetParameter()
    param.CopyFrom(file.param)
    layers = [layer for layer in param.layer if layer.type in kinds() and kinds()[layer.type].role == "data"]
    for option, value, change in (
        ("--batch-size", options.batch_size, _set_batch_size),
        ("--crop", options.crop, _set_crop),
    ):
        # Not any(...), which would stop at the first one.
        if value is not None and not sum([change(layer, value) for layer in layers]):
            raise UsageError(
                f"{option} changes nothing",
                where=file.path,
                found=", ".join(f"{layer.name!r} ({layer.type})" for layer in layers) or "no data layer",
                expected="a data layer of the training net that takes it, such as ImageSegData",
                advice="leave it out, and change the prototxt",
            )
    return replace(file, param=param)


def iterations(
    file: NetFile, data: DataOverrides, param: SolverParameter, options: TrainOptions, processes: int
) -> int:
    """The updates in which the training data is drawn options.epochs times, rounded up.

    Args:
        file: the training net.
        data: for its data layer, in place of its own.
        processes: how many draw a batch each.

    Raises:
        UsageError: the net draws from no list.
    """
    net = build_net(file, device="meta", data=data.options())
    sources = [source for source in net.sources.values() if isinstance(source, Source) and source.count()]
    if not sources:
        raise UsageError(
            "--epochs needs a list of training data",
            where=file.path,
            found=", ".join(net.sources) or "no data layer that draws samples",
            expected="a data layer with a list or a database",
            advice="give --max-iter",
        )
    samples = sources[0].batch_size * param.iter_size * processes
    return math.ceil((options.epochs or 0) * sources[0].count() / samples)


def _set_batch_size(layer: LayerParameter, value: int) -> bool:
    found = [message for message in _messages(layer) if "batch_size" in message.DESCRIPTOR.fields_by_name]
    for message in found:
        message.batch_size = value
    return bool(found)


def _set_crop(layer: LayerParameter, value: int) -> bool:
    """A square crop, where the layer has it: in its own message, or in transform_param."""
    if layer.HasField("dense_image_data_param"):
        layer.dense_image_data_param.crop_height = layer.dense_image_data_param.crop_width = value
    elif layer.HasField("window_data_param"):
        layer.window_data_param.crop_size = value
    elif any("batch_size" in message.DESCRIPTOR.fields_by_name for message in _messages(layer)):
        layer.transform_param.crop_size = value
        layer.transform_param.ClearField("crop_height")
        layer.transform_param.ClearField("crop_width")
    else:
        return False
    return True


def _messages(layer: LayerParameter) -> list[Any]:
    """The messages with which the layer is set, of any type."""
    return [
        value
        for field, value in layer.ListFields()
        if field.message_type is not None and field.name.endswith("_param") and hasattr(value, "DESCRIPTOR")
    ]
