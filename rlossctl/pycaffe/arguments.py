"""The arguments of caffe.Net, of all ages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from rlossctl.prototxt.messages import Phase

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class NetArguments:
    """What a net is built from.

    Attributes:
        model: prototxt.
        weights: caffemodel.
        phase: TRAIN (0) or TEST (1).
        level, stages: the rest of the state that chooses layers.
    """

    model: Path
    weights: Path | None
    phase: int
    level: int = 0
    stages: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        network_file: Path,
        *positional: object,
        phase: int = Phase.TEST,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: Path | None = None,
    ) -> NetArguments:
        """`(model, phase)`, `(model, phase, level, stages, weights)`, `(model, weights, phase)`, or the
        `(model, weights)` of 2014, which means TEST.

        Raises:
            TypeError: other arguments.
        """
        rest = list(positional)
        if rest and isinstance(rest[0], str | os.PathLike):
            weights = rest.pop(0)  # type: ignore[assignment]
        values = dict(zip(("phase", "level", "stages", "weights"), rest, strict=False))
        if len(rest) > len(values):
            raise TypeError(f"Net takes (model, phase, level, stages, weights), not {len(positional) + 1} values")
        phase, level = values.get("phase", phase), values.get("level", level)  # type: ignore[assignment]
        stages, weights = values.get("stages", stages), values.get("weights", weights)  # type: ignore[assignment]
        return cls(network_file, weights, int(phase), int(level), tuple(stages or ()))


def checked_file(path: Path) -> str:
    """The name of a file that can be opened.

    Raises:
        RuntimeError: it cannot, as in Caffe.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb"):
            return name
    except OSError as error:
        raise RuntimeError(f"Could not open file {name}") from error
