"""`caffe test`: batches of a test net, their outputs and the means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from rlossctl.net import Net, build_net
from rlossctl.prototxt import load_net_file
from rlossctl.prototxt import phase as phases
from rlossctl.solver.load import pick_device
from rlossctl.solver.log import Log, number, to_stdout, weighted


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
    prototxt: str | Path,
    weights: str | Path,
    *,
    iterations: int = 50,
    settings: Mapping[str, object] | None = None,
    data: str | None = None,
    root: str | None = None,
    level: int = 0,
    stages: Sequence[str] = (),
    device: str = "auto",
    workers: int = 0,
    dialect: str = "auto",
    log: Log | None = None,
) -> Tested:
    """Runs a net in phase TEST on batches of its own data layers, as `caffe test` does, and logs its lines.

    Args:
        iterations: number of batches.
        settings: values for the prototxt's `${NAME}`.
        data, root: in place of the data layer's list and root folder.
        level, stages: the rest of Caffe's NetState.
        log: takes the lines; by default they go to standard output.

    Raises:
        RlossError: the net cannot be built or run, or the weights do not fit.
    """
    log = log or Log([to_stdout])
    given = {"source": data, "root": root, "workers": workers}
    file = load_net_file(prototxt, settings or {}, dialect)
    state = phases.net_state("TEST", file.param.state, level=level, stages=tuple(stages))
    net = build_net(
        phases.filter_net(file, state),
        device=pick_device(device),
        data={name: value for name, value in given.items() if value is not None},
    )
    net.copy_from(weights)
    log.info(f"Running for {iterations} iterations.")
    tested = _run(net, iterations, log)
    log.info(f"Loss: {number(tested.loss)}")
    for name, values in tested.means.items():
        for value in values:
            log.info(f"{name} = {weighted(value, net.loss_weights.get(name, 0.0))}")
    for layer in net.layers:
        if layer.type == "SegAccuracy" and not layer.message.seg_accuracy_param.reset:
            values = ", ".join(number(value) for value in tested.last[layer.tops[0]])
            log.info(f"{layer.tops[0]} counts on from batch to batch; all batches together give {values}")
    return tested


@torch.no_grad()
def _run(net: Net, iterations: int, log: Log) -> Tested:
    loss, last, totals = 0.0, {}, {}
    for batch in range(iterations):
        result = net.run(None)
        loss += result.loss.item()
        for name, blob in result.outputs.items():
            last[name] = blob.double().flatten().cpu().numpy()
            totals[name] = totals.get(name, 0.0) + last[name]
            for value in last[name]:
                log.info(f"Batch {batch}, {name} = {number(value)}")
    return Tested(loss / iterations, _lists(totals, iterations), _lists(last, 1))


def _lists(blobs: Mapping[str, np.ndarray], divisor: int) -> dict[str, list[float]]:
    return {name: (values / divisor).tolist() for name, values in blobs.items()}
