"""The net that a weights file implies: the one inside it, or the one that comes with rlossctl and fits."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rlossctl.converters import importers
from rlossctl.weights import TensorFile, kinds, load_weights

# Of the nets that come with rlossctl, where the user sets none: names that change nothing of what a net
# computes.
DEFAULTS = {"EXP": "imported", "DATA_ROOT": ".", "TEST_SET": "val", "NET_ID": "imported"}


class Implied(NamedTuple):
    """A net prototxt, values for its placeholders, how it is known, and whether the file carries it."""

    prototxt: Path
    placeholders: dict[str, object]
    reason: str
    inside: bool


@contextlib.contextmanager
def implied_net(weights: Path, kind: str | None, given: Mapping[str, object]) -> Iterator[Implied | None]:
    """The net of a file of tensors; None where the file says nothing of one.

    Args:
        given: placeholders that the user set, which count before those that are read from the tensors.

    Raises:
        WeightsError: a checkpoint of an unknown program.
    """
    if (kind or kinds.kind_of(weights)) not in (kinds.SAFETENSORS, kinds.CHECKPOINT):
        yield None
        return
    model = load_weights(weights, kind)
    if not model.is_ours:
        yield _configured(model, given)
        return
    text = model.metadata.get("prototxt", "")
    if not text or "caffemodel" in model.metadata:  # a net as trained, with data layers: not for inference
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{weights.name}.prototxt"
        file.write_text(text)
        yield Implied(file, dict(given), f"the one inside {weights}", True)


def _configured(model: TensorFile, given: Mapping[str, object]) -> Implied:
    fit = importers.fit(model, given)
    file = Path(fit.net)
    reason = fit.net + (f" ({fit.words})" if fit.words else "")
    return Implied(file, {**DEFAULTS, **fit.settings, **given}, reason, False)
