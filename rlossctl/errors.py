"""The few exception types of the house.

An error is raised where the fact is known and says four things: where it happened, what was found,
what was expected, and what to do about it. The command line prints it as one paragraph and exits
with the type's `exit_code`.
"""

from __future__ import annotations

LONGEST = 4000  # characters of a part of a message; the longest that says something lists unknown layer types


class RlossError(Exception):
    """Base of every error that a user can cause and mend.

    Args:
        message: one sentence that says what is wrong.
        where: file, file:line, layer or blob.
        found: what was met there.
        expected: what should have been there.
        advice: what to do next.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        where: object = None,
        found: object = None,
        expected: object = None,
        advice: str | None = None,
    ) -> None:
        self.message = message
        self.where = None if where is None else str(where)
        self.found = found
        self.expected = expected
        self.advice = advice
        super().__init__(self._text())

    def _text(self) -> str:
        message = shortened(self.message)
        lines = [f"{shortened(self.where)}: {message}" if self.where else message]
        if self.found is not None:
            lines.append(f"  found:    {shortened(self.found)}")
        if self.expected is not None:
            lines.append(f"  expected: {shortened(self.expected)}")
        if self.advice is not None:
            lines.append(f"  do:       {shortened(self.advice)}")
        return "\n".join(lines)


def shortened(value: object, longest: int = LONGEST) -> str:
    """A name or value of a file for people: its middle is left out where it is longer than `longest`."""
    text = str(value)
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} ... ({len(text):,} characters) ... {text[-longest // 4 :]}"


class RlossWarning(UserWarning):
    """Something that makes a result doubtful without making it impossible."""


class PrototxtError(RlossError):
    """A prototxt (net or solver) that cannot be read or does not make sense."""


class WeightsError(RlossError):
    """A weights or state file that is damaged, or does not fit the net."""


class NetError(RlossError):
    """A graph that cannot be built or run: unknown types, blobs or impossible shapes.

    Attributes:
        samples: rows of the batch that are at fault, where the layer that raises it knows them.
        batch_size: rows of the batch that `samples` counts in.
    """

    samples: list[int] | None = None
    batch_size = 0

    def name_files(self, files: list[str]) -> None:
        """Adds the names of the faulty samples, given those of the whole batch."""
        if self.samples is None or self.batch_size != len(files):
            return
        names = ", ".join(files[row] for row in self.samples[:5]) + (", ..." if len(self.samples) > 5 else "")
        self.found = f"{self.found} in {names}"
        self.args = (self._text(),)


class DataError(RlossError):
    """A list, image or label file that cannot be used."""


class UsageError(RlossError):
    """Arguments that do not go together."""

    exit_code = 2


class VerificationError(RlossError):
    """What was written does not compute what was read."""

    exit_code = 3
