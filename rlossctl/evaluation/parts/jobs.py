"""Where the parts of a job are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlossctl.evaluation.parts import folder
from rlossctl.evaluation.parts.folder import Folder

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


def is_done(path: str, key: Mapping[str, Any]) -> bool:
    """Whether a part's file is there and whole; raises UsageError if it belongs to another job."""
    if not folder.exists(path):
        return False
    packed = folder.load(path)
    folder.require_same(packed.key, key, path)
    return bool(packed.facts.get("complete"))
