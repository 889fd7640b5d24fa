"""Errors of the data of a training: of which net, and what `train` offers against them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rlossctl.data.sources.stream import Source
from rlossctl.errors import DataError
from rlossctl.net.draft import WITHOUT_DATA

_TRAINING = "correct the layer's source in the prototxt, or name another list (--data, --root)"
_TEST = (
    "name the list and its folder (--val LIST --val-root DIR), correct the layer in the prototxt, or train "
    "without tests (--test-interval 0)"
)
_OPTIONS = ("--data", "--root")  # of the training net alone


@contextlib.contextmanager
def advised(phase: str, source: Source | None = None) -> Iterator[None]:
    """Errors inside the block advise what `train` takes for a net of this phase.

    Args:
        phase: "TRAIN" or "TEST".
        source: the data layer that is at work; errors that do not name it will.

    Raises:
        DataError: that of the block, reworded.
    """
    try:
        yield
    except DataError as error:
        message = error.message
        if source is not None and "layer " not in message:
            place = f", {source.where}" if source.where else ""
            message = f"layer {source.name!r} ({source.type}, phase {phase}{place}): {message}"
        raise DataError(
            message,
            where=error.where,
            found=error.found,
            expected=error.expected,
            advice=_advice(error.advice, phase),
        ) from error


def _advice(advice: str | None, phase: str) -> str:
    kept = (advice or "").replace(WITHOUT_DATA, "").rstrip("; ")
    if phase == "TEST" and (not kept or any(option in kept for option in _OPTIONS)):
        return _TEST
    return kept or _TRAINING
