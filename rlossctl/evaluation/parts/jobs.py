"""Where the parts of a job are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlossctl.evaluation.parts import folder
from rlossctl.evaluation.parts.folder import PART, Folder
from rlossctl.evaluation.parts.part import Part

PHOTOS = 100  # of a part, if nobody says how many parts there are


@dataclass(frozen=True)
class InParts:
    """Where the parts of a job are, and what made them.

    Attributes:
        place: their folder, or its address (see `rlossctl.remote`).
        kind: what they are of: "eval" or "predict".
        command: the arguments of the command line, to name the command that makes what is missing.
    """

    place: str
    kind: str
    command: Sequence[str] = ()

    @property
    def folder(self) -> Folder:
        """The folder of the files."""
        return Folder(self.place, self.kind)

    def done(self, keys: Mapping[str, Mapping[str, Any]]) -> set[str]:
        """Which of these files, given with their keys, are there and whole; raises as `is_done` does."""
        return {path for path in self.folder.names() if path in keys and is_done(path, keys[path])}


def keys_of(key: Mapping[str, Any], count: int) -> dict[Part, dict[str, Any]]:
    """The keys of all of `count` parts, from that of one of them."""
    parts = (Part(rank, count) for rank in range(count))
    return {part: {**key, PART: dataclasses.asdict(part)} for part in parts}


def is_done(path: str, key: Mapping[str, Any]) -> bool:
    """Whether a part's file is there and whole; raises UsageError if it belongs to another job."""
    if not folder.exists(path):
        return False
    packed = folder.load(path)
    folder.require_same(packed.key, key, path)
    return bool(packed.facts.get("complete"))
