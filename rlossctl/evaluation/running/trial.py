"""Runs a model of unknown origin once on a small image, to see the sizes it takes and the shapes it gives."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlossctl.evaluation.running.ports import ImagePort, Seen

_BASE = (128, 192)  # what is tried is a little larger, so that both sides are multiples of one power of two
_POWERS = (1, 2, 4, 8, 16, 32, 64)


def seen_without_running(port: ImagePort, outputs: list[Any]) -> Seen:
    """What the file says about its outputs."""
    return Seen(port.size, {entry.name: entry.shape for entry in outputs})


def try_out(session: Any, port: ImagePort, outputs: list[Any]) -> tuple[Seen, int]:
    """What the model gives for a small image, and which multiples its sides must be.

    A model that takes no image tried, or whose file says all, is not run: what the file says is returned.

    Returns:
        the outputs, and the least power of two such that its odd multiples are taken.
    """
    static = seen_without_running(port, outputs)
    fixed = all(size is not None for size in port.size)
    if fixed and all(isinstance(size, int) for entry in outputs for size in entry.shape[1:]):
        return static, 1
    for power in _POWERS:
        sides = [size or base + power for size, base in zip(port.size, _BASE, strict=True)]
        shape = port.shape(port.at_once or 1, *sides)
        try:
            answers = session.run(None, {port.name: np.zeros(shape, port.dtype)})
        except Exception:  # ONNX Runtime raises its own types; another size may be taken
            continue
        shapes = {entry.name: np.shape(answer) for entry, answer in zip(outputs, answers, strict=True)}
        return Seen((sides[0], sides[1]), dict(shapes)), power
    return static, 1
