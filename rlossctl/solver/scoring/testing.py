"""`caffe test`: batches of a test net, their outputs and the means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from rlossctl.net import DataOverrides, Net, NetOrigin
from rlossctl.net.build import load_origin
from rlossctl.net.coverage import copy_covered
from rlossctl.net.layer import ListMetric
from rlossctl.net.walk import LayerNode
from rlossctl.solver.machine.device import pick_device
from rlossctl.solver.telling.log import Log, number, to_stdout, weighted
from rlossctl.weights import load_weights


class Tested(NamedTuple):
    """What a test gave.

    Attributes:
        loss: mean objective.
        means: output blob -> mean of each of its values over the batches.
        last: output blob -> its values in the last batch.
    """

    loss: float
    means: dict[str, list[float]]
    last: dict[str, list[float]]


def run_test(
    origin: NetOrigin,
    *,
    iterations: int = 50,
    data: DataOverrides | None = None,
    level: int = 0,
    stages: tuple[str, ...] = (),
    device: str = "auto",
    log: Log | None = None,
) -> Tested:
    """Runs a net in phase TEST on batches of its own data layers, as `caffe test` does, and logs its lines.

    Args:
        iterations: number of batches.
        data: in place of the data layers' own.
        level, stages: the rest of Caffe's NetState.
        log: takes the lines; by default they go to standard output.

    Raises:
        RlossError: the net cannot be built or run, or the weights do not fit.
    """
    log = log or Log([to_stdout])
    drawn = (data or DataOverrides()).options()
    unfilled = replace(origin, weights=None)
    net = load_origin(unfilled, "TEST", level=level, stages=stages, device=pick_device(device), data=drawn)
    if origin.weights is not None:
        coverage = copy_covered(net, load_weights(origin.weights), str(origin.weights))
        warning = coverage.require(origin.allow_missing).warning()
        if warning:
            log.info(f"warning: {warning}")
    log.info(f"Running for {iterations} iterations.")
    tested = _run(net, iterations, log)
    log.info(f"Loss: {number(tested.loss)}")
    for name, values in tested.means.items():
        for value in values:
            log.info(f"{name} = {weighted(value, net.loss_weights.get(name, 0.0))}")
    for layer in net.layers:
        for top in layer.tops if counts_on(layer) or isinstance(layer.module, ListMetric) else ():
            if top in tested.last:
                last = ", ".join(number(value) for value in tested.last[top])
                log.info(f"{top} counts on from batch to batch; all batches together give {last}")
    return tested


def counts_on(layer: LayerNode) -> bool:
    """Whether a layer is a SegAccuracy whose figures are those of all batches so far."""
    return layer.type == "SegAccuracy" and not layer.message.seg_accuracy_param.reset


@torch.no_grad()
def _run(net: Net, iterations: int, log: Log) -> Tested:
    loss = 0.0
    last: dict[str, np.ndarray] = {}
    totals: dict[str, np.ndarray] = {}
    for batch in range(iterations):
        result = net.run(None)
        loss += result.loss.item()
        for name, blob in result.outputs.items():
            last[name] = blob.double().flatten().cpu().numpy()
            totals[name] = totals[name] + last[name] if name in totals else last[name]
            for value in last[name]:
                log.info(f"Batch {batch}, {name} = {number(value)}")
    return Tested(loss / iterations, _lists(totals, iterations), _lists(last, 1))


def _lists(blobs: Mapping[str, np.ndarray], divisor: int) -> dict[str, list[float]]:
    return {name: (values / divisor).tolist() for name, values in blobs.items()}
