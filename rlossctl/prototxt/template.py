"""`${NAME}` placeholders in prototxt text, as the experiments' shell scripts fill them.

The original scripts pipe a template through sed, so a placeholder may be anywhere, even outside quotes
(`num_output: ${NUM_LABELS}`). `${NAME:-value}` gives a default, as in a shell; `value` is any text without
braces and dollar signs. Explicit settings come first, then the environment, then the default. Comments are
not changed: the original files have unused placeholders there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import partial

from rlossctl.errors import PrototxtError

_MARK = "${"  # the start of every placeholder: most lines have none and need no closer look
# Quoted text in one line. Characters are matched in runs: a repeated group would keep a hundred bytes for
# each of the millions that a string may have.
STRING = r'"[^"\\\n]*(?:\\.[^"\\\n]*)*"|\'[^\'\\\n]*(?:\\.[^\'\\\n]*)*\''
PLACEHOLDER = re.compile(r"\$\{(\w+)(?::-([^{}$]*))?\}")


def fill(text: str, values: Mapping[str, object], where: str) -> str:
    """Replaces every placeholder outside comments.

    Args:
        text: a prototxt template.
        values: explicit settings. The environment fills in what they lack, then the defaults. A value that is
            set but empty counts, unlike in a shell.
        where: the file's name, for errors.

    Raises:
        PrototxtError: lists all names without a value, each with its lines.
    """
    missing: dict[str, list[int]] = {}

    def value(line: int, match: re.Match[str]) -> str:
        name, default = match.groups()
        if name in values:
            return str(values[name])
        if name in os.environ:
            return os.environ[name]
        if default is not None:
            return default
        lines = missing.setdefault(name, [])
        if line not in lines:
            lines.append(line)
        return match.group(0)

    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        code, comment = split_comment(line) if _MARK in line else (line, "")
        lines.append(PLACEHOLDER.sub(partial(value, number), code) + comment)
    if missing:
        raise _missing_error(missing, where)
    return "\n".join(lines)


def names(text: str) -> list[str]:
    """The placeholders that occur outside comments, in order of appearance."""
    return list(dict.fromkeys(name for name, _ in _occurrences(text)))


def defaults(text: str) -> dict[str, str]:
    """The placeholders outside comments that have a default, with the first default of each."""
    out: dict[str, str] = {}
    for name, default in _occurrences(text):
        if default is not None:
            out.setdefault(name, default)
    return out


def _occurrences(text: str) -> Iterator[tuple[str, str | None]]:
    for line in text.split("\n"):
        for match in PLACEHOLDER.finditer(split_comment(line)[0] if _MARK in line else ""):
            yield match.group(1), match.group(2)


def split_comment(line: str) -> tuple[str, str]:
    """Cuts a line at the `#` that starts a comment; a `#` inside quotes does not."""
    quote = ""
    escaped = False
    for position, character in enumerate(line):
        if escaped:
            escaped = False
        elif quote:
            escaped = character == "\\"
            if character == quote:
                quote = ""
        elif character in "\"'":
            quote = character
        elif character == "#":
            return line[:position], line[position:]
    return line, ""


def _missing_error(missing: Mapping[str, list[int]], where: str) -> PrototxtError:
    def entries() -> Iterator[str]:
        for name, lines in missing.items():
            shown = ", ".join(str(line) for line in lines[:8]) + (", ..." if len(lines) > 8 else "")
            yield f"{name} (line {shown})"

    settings = " ".join(f"--set {name}=..." for name in missing)
    return PrototxtError(
        "placeholders are not set",
        where=where,
        found="; ".join(entries()),
        expected="a value for each, from --set or the environment",
        advice=f"add {settings}",
    )
