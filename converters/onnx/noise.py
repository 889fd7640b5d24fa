"""What a lower precision adds to each blob, in decibels: where a file loses its accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from rlossctl.converters.verifying.blob_streams import OnnxModel
from rlossctl.converters.verifying.comparison import Noise
from rlossctl.converters.verifying.trials import Trial, pairs
from rlossctl.words import counted

if TYPE_CHECKING:
    from onnx import ModelProto

WORST = 5  # layers named on the terminal


@dataclass
class _Energy:
    signal: float = 0.0
    noise: float = 0.0

    def add(self, expected: np.ndarray, found: np.ndarray) -> None:
        wanted = expected.astype(np.float64)
        self.signal += float(np.square(wanted).sum())
        self.noise += float(np.square(found - wanted).sum())

    @property
    def decibels(self) -> float:
        if not self.noise or not self.signal:
            return math.inf if not self.noise else -math.inf
        return 10 * math.log10(self.signal / self.noise)


@dataclass
class _Both:
    whole: _Energy = field(default_factory=_Energy)
    alone: _Energy = field(default_factory=_Energy)


def measure(
    single: ModelProto, reduced: ModelProto, blobs: Mapping[str, str], trials: Iterable[Trial]
) -> list[Noise]:
    """The noise of every blob, in order of computation.

    Args:
        blobs: name -> layer, of the values that are blobs.
    """
    first, second = (OnnxModel(model, dict(blobs)) for model in (single, reduced))
    common = [name for name in first.values if name in second.values]
    parts = {name: second.part(name, common[:number]) for number, name in enumerate(common)}
    last = {feed: name for name in common for feed in parts[name].feeds}
    found = {name: _Both() for name in common}
    for trial in trials:
        exact: dict[str, np.ndarray] = {second.feeds[0]: trial.image}
        for blob, other in pairs(first, second, trial.image, set(common)):
            part, both = parts[blob.name], found[blob.name]
            (own,) = part.blobs({name: exact[name] for name in part.feeds}, [blob.name])
            both.whole.add(blob.array, other)
            both.alone.add(blob.array, own.array)
            exact = {name: array for name, array in exact.items() if last.get(name) != blob.name}
            if blob.name in last:
                exact[blob.name] = blob.array.astype(other.dtype, copy=False)  # fp16 reads halves
    return [Noise(first.values[n], n, both.whole.decibels, both.alone.decibels) for n, both in found.items()]


def most_harmful_first(
    single: ModelProto, reduced: ModelProto, blobs: Mapping[str, str], trial: Trial
) -> list[str]:
    """The layers in the order of what their own noise does to the first output, the worst first.

    The rest of the net runs once for every layer, in float32, behind that layer's noisy blob.
    """
    first, second = (OnnxModel(model, dict(blobs)) for model in (single, reduced))
    common = [name for name in first.values if name in second.values]
    target = first.outputs[0]
    (wanted,) = (blob.array for blob in first.blobs(trial.image, {target}))
    parts = [second.part(name, common[:number]) for number, name in enumerate(common)]
    last = {feed: number for number, part in enumerate(parts) for feed in part.feeds}
    exact: dict[str, np.ndarray] = {second.feeds[0]: trial.image}
    harm: dict[str, float] = {}
    for number, blob in enumerate(first.blobs(trial.image, set(common))):
        (own,) = parts[number].blobs({name: exact[name] for name in parts[number].feeds}, [blob.name])
        exact[blob.name] = blob.array
        rest = first.part(target, common[: number + 1])
        if not np.array_equal(own.array, blob.array):
            noisy = {**exact, blob.name: own.array}
            feeds = {name: noisy[name] for name in rest.feeds}
            found = own if blob.name == target else next(rest.blobs(feeds, [target]))
            energy = _Energy()
            energy.add(wanted, found.array)
            layer = first.values[blob.name]
            harm[layer] = min(harm.get(layer, math.inf), energy.decibels)
        kept = {*rest.feeds, *(name for name, place in last.items() if place > number)}
        exact = {name: array for name, array in exact.items() if name in kept}
    return sorted(harm, key=harm.__getitem__)


def worst_first(noise: Iterable[Noise]) -> list[str]:
    """The layers that add noise, the noisiest first."""
    noisy = sorted((entry for entry in noise if entry.alone < math.inf), key=lambda entry: entry.alone)
    return list(dict.fromkeys(entry.layer for entry in noisy))


def lines(noise: list[Noise], precision: str) -> list[str]:
    """The noisiest layers as a table."""
    layers = worst_first(noise)
    worst = [min((e for e in noise if e.layer == layer), key=lambda e: e.alone) for layer in layers]
    if not worst:
        return []
    width = max(len(entry.layer) for entry in worst[:WORST])
    rows = [
        f"  {entry.layer:{width}}  {entry.alone:6.1f} dB alone  {entry.whole:6.1f} dB in the net"
        for entry in worst[:WORST]
    ]
    return [f"{precision}: the noisiest of {counted(len(worst), 'layer')}, as signal-to-noise:", *rows]
