"""Decides whether a difference is a fault, or rounding that the net itself amplifies.

Two libraries round the last digits differently, and a net may amplify that. For example, float32 has an error
of 1e-3 for scores around 1e4, so their softmax has an error of 1e-3 of its largest value, ten times what is
allowed. The net in double precision judges: a model that rounds is about as far from it as the net in single
precision is, and a model with a fault is much further away. Where the net itself hardly knows the answer,
each layer of the model also runs alone, on the net's own blobs: there, nothing is amplified.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from rlossctl.converters.verifying.blob_streams import BlobModel, OnnxModel, TorchModel
from rlossctl.converters.verifying.comparison import Comparison, Rounding, compare
from rlossctl.converters.verifying.trials import Trial, compare_models
from rlossctl.errors import RlossError

Errors = Mapping[str, Rounding]


def judged(
    comparisons: Iterable[Comparison], tolerance: float, errors: Callable[[str, Collection[str]], Errors]
) -> list[Comparison]:
    """The comparisons; those beyond the tolerance with what the net in double precision says.

    Args:
        errors: for a trial's name and names of blobs, their errors against double precision.
    """
    comparisons = list(comparisons)
    bad: dict[str, set[str]] = {}
    for entry in comparisons:
        if not entry.error <= tolerance:
            bad.setdefault(entry.trial, set()).add(entry.blob)
    known = {trial: errors(trial, blobs) for trial, blobs in bad.items()}
    return [
        entry if entry.error <= tolerance else replace(entry, rounding=known[entry.trial].get(entry.blob))
        for entry in comparisons
    ]


def errors_of(net: TorchModel, other: BlobModel, trial: Trial, names: Collection[str]) -> Errors:
    """The errors of another model's blobs and of the net's own, both against the net in double precision.

    Empty if the net cannot run in double precision.
    """
    errors = against_double(
        lambda double: compare_models(double, other, [trial]),
        lambda double: compare_models(double, net, [trial]),
        net,
    )
    if not errors or not isinstance(other, OnnxModel):
        return errors
    alone = dict(_alone(net, other, trial, names))
    return {blob: replace(error, alone=alone.get(blob)) for blob, error in errors.items()}


def _alone(
    net: TorchModel, other: OnnxModel, trial: Trial, names: Collection[str]
) -> Iterator[tuple[str, float]]:
    """The errors of blobs whose layers read the net's own blobs."""
    common = [name for name in net.values if name in other.values]
    parts = {name: other.part(name, common[:number]) for number, name in enumerate(common) if name in names}
    last = {feed: name for name, part in parts.items() for feed in part.feeds}
    kept = {other.feeds[0]: trial.image}
    for blob in net.blobs(trial.image, {*parts, *last}):
        if blob.name in parts:
            part = parts[blob.name]
            (found,) = part.blobs({name: kept[name] for name in part.feeds}, [blob.name])
            if blob.choice is None:
                entry = compare(trial.name, blob.name, found.array, blob.array, inner=True)
            else:
                entry = blob.choice.compare(trial.name, blob.name, found.array, net.values[blob.name])
            yield blob.name, entry.error
            kept = {name: array for name, array in kept.items() if last.get(name) != blob.name}
        if blob.name in last:
            kept[blob.name] = np.array(blob.array)


def against_double(
    found: Callable[[TorchModel], Iterable[Comparison]],
    own: Callable[[TorchModel], Iterable[Comparison]],
    net: TorchModel,
) -> Errors:
    """The errors of one trial's blobs in two comparisons with the net in double precision.

    Empty if the net cannot run in double precision.
    """
    try:
        double = net.doubled()
        others = {entry.blob: entry.error for entry in found(double)}
        owns = {entry.blob: entry.error for entry in own(double)}
    except (RlossError, RuntimeError, TypeError):  # a layer that supports only single precision
        return {}
    return {blob: Rounding(error, owns[blob]) for blob, error in others.items() if blob in owns}
