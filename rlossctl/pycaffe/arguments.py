"""The arguments of caffe.Net, of all ages."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from rlossctl.prototxt.messages import Phase

Path = str | os.PathLike[str]
_ORDER = ("phase", "level", "stages", "weights")


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
    level: int
    stages: tuple[str, ...]

    @classmethod
    def read(cls, network_file: Path, *positional: Any, **keywords: Any) -> NetArguments:
        """`(model, phase)`, `(model, phase, level, stages, weights)`, `(model, weights, phase)`, or the
        `(model, weights)` of 2014, which means TEST; the names of all but the model may be given.

        Raises:
            TypeError: other arguments.
        """
        rest, given = list(positional), dict(keywords)
        if rest and isinstance(rest[0], str | os.PathLike):
            given["weights"] = rest.pop(0)
        given.update(zip(_ORDER, rest, strict=False))
        if len(rest) > len(_ORDER) or not given.keys() <= set(_ORDER):
            raise TypeError(f"Net takes (model, {', '.join(_ORDER)}), or (model, weights, phase)")
        return cls(
            network_file,
            given.get("weights"),
            int(given.get("phase", Phase.TEST)),
            int(given.get("level") or 0),
            tuple(given.get("stages") or ()),
        )


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
