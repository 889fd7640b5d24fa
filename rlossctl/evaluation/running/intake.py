"""What a model demands of its input, beyond what its preprocessing says."""

from __future__ import annotations

from dataclasses import dataclass

from rlossctl.evaluation.running.room import Room


@dataclass(frozen=True)
class Intake:
    """What a model demands of its input.

    Attributes:
        size: (height, width) of the only images that it takes; None for a side that may vary.
        grey: whether it takes one channel.
        raw: whether it takes bytes, so that photos cannot be prepared beforehand.
        multiple: sides must be multiples of this.
        room: what fits in memory; None if it is unknown.
    """

    size: tuple[int | None, int | None] = (None, None)
    grey: bool = False
    raw: bool = False
    multiple: int = 1
    room: Room | None = None

    @property
    def window(self) -> tuple[int, int] | None:
        """(height, width) of the only images that the model takes; None if it takes several sizes."""
        height, width = self.size
        return None if height is None and width is None else (height or width or 1, width or height or 1)

    def notes(self) -> tuple[str, ...]:
        """Sentences for the user."""
        notes = []
        if self.window:
            size = "{}x{}".format(*self.window)
            notes.append(
                f"the model takes {size} (height x width) only: smaller photos are padded, larger ones run "
                f"in tiles; --resize {','.join(map(str, self.window))} resizes all"
            )
        if self.multiple > 1:
            notes.append(
                f"the model takes sides that are multiples of {self.multiple}, found by trying: photos "
                "are padded"
            )
        if self.grey:
            notes.append("the model takes one channel: photos are made grey (ITU-R 601)")
        if self.raw:
            notes.append("the model takes bytes: photos go in as they are; --rgb says that red comes first")
        return tuple(notes)


ANY = Intake()
