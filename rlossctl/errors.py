"""This package's few exception types.

An error is raised where the problem is known, and says four things: where it happened, what was found, what
was expected, and what to do about it. The command line prints it as one paragraph and exits with the type's
`exit_code`.
"""

from __future__ import annotations

LONGEST = 4000  # characters of a part of a message; the longest that says something lists unknown layer types


class RlossError(Exception):
    """Base of every error that a user can cause and fix.

    Args:
        message: one sentence on what is wrong.
        where: file, file:line, layer or blob.
        found: what was there.
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
    """A name or value for a message; if it is longer than `longest`, its middle is left out."""
    text = str(value)
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]} ... ({len(text):,} characters) ... {text[-longest // 4 :]}"


class RlossWarning(UserWarning):
    """A problem that makes a result doubtful, but not impossible."""


class PrototxtError(RlossError):
    """A prototxt (net or solver) that cannot be read or does not make sense."""


class WeightsError(RlossError):
    """A weights or state file that is damaged or does not fit the net."""


class NetError(RlossError):
    """A graph that cannot be built or run: unknown types or blobs, or impossible shapes.

    Attributes:
        samples: the faulty rows of the batch, if the layer that raises the error knows them.
        batch_size: how many rows the batch has.
    """

    samples: list[int] | None = None
    batch_size = 0

    def name_files(self, files: list[str]) -> None:
        """Adds the file names of the faulty samples; `files` are the names for the whole batch."""
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
    """The written file does not compute the same as the original."""

    exit_code = 3
