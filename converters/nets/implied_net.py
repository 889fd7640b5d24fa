"""The net that a weights file implies: the net inside it, or a net that comes with rlossctl and fits."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rlossctl.converters import importers
from rlossctl.net.origin import NetOrigin
from rlossctl.weights import TensorFile, kinds, load_weights

TENSORS = (kinds.SAFETENSORS, kinds.CHECKPOINT)


class Implied(NamedTuple):
    """A net and its weights, how the net was found, and whether it is inside the weights file."""

    origin: NetOrigin
    reason: str
    inside: bool


@contextlib.contextmanager
def implied_net(alone: NetOrigin, kind: str | None = None) -> Iterator[Implied | None]:
    """The net for a file of tensors; None if the file does not imply one.

    Args:
        alone: the file as if it were the prototxt. Its placeholders, set by the user, override those that are
            read from the tensors.
        kind: the file's format; replaces the format found from suffix and content.

    Raises:
        WeightsError: the checkpoint is from an unknown program.
    """
    weights = Path(alone.prototxt)
    model = load_weights(weights, kind) if (kind or kinds.kind_of(weights)) in TENSORS else None
    if not isinstance(model, TensorFile):
        yield None
        return
    if not model.is_ours:
        yield _configured(model, replace(alone, weights=weights))
        return
    text = model.metadata.get("prototxt", "")
    if not text or "caffemodel" in model.metadata:  # a training net with data layers, not for inference
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{weights.name}.prototxt"
        file.write_text(text)
        yield Implied(replace(alone, prototxt=file, weights=weights), f"the one inside {weights}", True)


def _configured(model: TensorFile, alone: NetOrigin) -> Implied:
    given = alone.placeholders
    fit = importers.fit(model, given)
    reason = fit.net + (f" ({fit.words})" if fit.words else "")
    origin = replace(alone, prototxt=fit.net, placeholders={**fit.placeholders, **given})
    return Implied(origin, reason, False)
