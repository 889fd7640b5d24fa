"""Caffe's InsertSplits: an explicit Split layer wherever a blob is read more than once.

Our graph needs no copies, but Caffe's caffemodels contain these layers, so ours do, too.
"""

from __future__ import annotations

from rlossctl.prototxt.messages import NetParameter


def insert_splits(net: NetParameter) -> NetParameter:
    """A copy of a filtered NetParameter with Split layers named `<blob>_<layer>_<top index>_split`."""
    producer: dict[str, tuple[int, int]] = {}  # blob -> (layer, top) that wrote it last; layer -1: net input
    bottom_source: dict[tuple[int, int], tuple[int, int]] = {}
    readers: dict[tuple[int, int], int] = {}
    loss_weight: dict[tuple[int, int], float] = {}
    for index, name in enumerate(net.input):
        producer[name] = (-1, index)
    for number, layer in enumerate(net.layer):
        for index, blob in enumerate(layer.bottom):
            source = producer.get(blob)
            if source is not None:
                bottom_source[number, index] = source
                readers[source] = readers.get(source, 0) + 1
        for index, blob in enumerate(layer.top):
            producer[blob] = (number, index)
        for index, weight in enumerate(layer.loss_weight[: len(layer.top)]):
            if weight:
                loss_weight[number, index] = weight
                readers[number, index] = readers.get((number, index), 0) + 1

    out = NetParameter()
    out.CopyFrom(net)
    del out.layer[:]
    used: dict[tuple[int, int], int] = {}
    for index, blob in enumerate(net.input):
        if readers.get((-1, index), 0) > 1:
            _add_split(out, "input", blob, index, readers[-1, index], 0.0)
    for number, layer in enumerate(net.layer):
        new = out.layer.add()
        new.CopyFrom(layer)
        for index, blob in enumerate(layer.bottom):
            source = bottom_source.get((number, index))
            if source is not None and readers[source] > 1:
                owner = "input" if source[0] < 0 else net.layer[source[0]].name
                copy = used.get(source, 1 if loss_weight.get(source) else 0)
                used[source] = copy + 1
                new.bottom[index] = f"{_split_name(owner, blob, source[1])}_{copy}"
        for index, blob in enumerate(layer.top):
            count = readers.get((number, index), 0)
            if count > 1:
                weight = loss_weight.get((number, index), 0.0)
                _add_split(out, layer.name, blob, index, count, weight)
                if weight:  # the loss weight moves to the split's first top
                    new.loss_weight[index] = 0.0
    return out


def _split_name(layer: str, blob: str, index: int) -> str:
    return f"{blob}_{layer}_{index}_split"


def _add_split(net: NetParameter, layer: str, blob: str, index: int, count: int, weight: float) -> None:
    split = net.layer.add()
    split.name = _split_name(layer, blob, index)
    split.type = "Split"
    split.bottom.append(blob)
    for copy in range(count):
        split.top.append(f"{split.name}_{copy}")
        if weight:
            split.loss_weight.append(weight if copy == 0 else 0.0)
