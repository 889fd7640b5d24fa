"""A file that lets an interrupted evaluation resume, and tells others of a part that is done."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlossctl.errors import UsageError
from rlossctl.evaluation.parts import folder
from rlossctl.evaluation.parts.packing import Packed
from rlossctl.evaluation.scoring.tally import Tally

SECONDS_BETWEEN_SAVES = 30.0
_LONGEST_NAME = 1 << 12  # bytes of facts for each image


@dataclass
class State:
    """The file of an evaluation's counts so far, and of what they belong to.

    Attributes:
        path: the file, or its address (see `rlossctl.remote`).
        model: a hash of the model's files and settings (`running.fingerprint.hash_files`).
    """

    path: str
    model: str
    _saved: float = field(default_factory=time.monotonic, init=False)

    def load(self, tally: Tally, key: Mapping[str, Any]) -> Mapping[str, Any]:
        """Fills `tally` from the file, if it exists.

        Returns:
            The facts in the file; none if it does not exist.

        Raises:
            UsageError: the file belongs to another model, list or options.
            DataError: it is not the state of an evaluation.
        """
        if not folder.exists(self.path):
            return {}
        size = sum(part.nbytes for part in tally.arrays().values()) + _LONGEST_NAME * len(tally.places)
        packed = folder.load(self.path, size)
        names = folder.different(packed.key, key)
        if names:
            raise UsageError(
                "the state belongs to another evaluation",
                where=self.path,
                found=f"a different {', '.join(names)}",
                expected="the same model, list and options",
                advice="repeat the command that wrote it, or choose another file to start afresh",
            )
        fill(tally, packed, self.path)
        return packed.facts

    def save(self, content: Packed) -> None:
        """Writes the file."""
        folder.save(self.path, content.to_bytes())
        self._saved = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._saved >= SECONDS_BETWEEN_SAVES


def packed(tally: Tally, key: Mapping[str, Any], facts: Mapping[str, Any]) -> Packed:
    """A tally with what it belongs to, and other facts."""
    return Packed(key, facts, {"seconds": np.float64(tally.seconds), **tally.arrays()})


def fill(tally: Tally, content: Packed, where: object) -> None:
    """Replaces a tally's counts by those of a file; raises DataError if they do not fit."""
    arrays = dict(content.arrays)
    try:
        seconds = float(arrays.pop("seconds"))
        if not 0 <= seconds < math.inf:
            raise ValueError("its seconds are not a time")
        tally.update(arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise folder.damaged(where, error) from error
    tally.seconds = seconds
