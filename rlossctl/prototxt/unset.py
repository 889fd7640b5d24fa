"""Placeholders that may stay unset, because they are in strings that are not read.

Examples are a net's name, the list of a data layer that --data replaces, and the snapshot folder that --out
replaces. Such a placeholder is filled with itself, so that the text can be parsed. Every other placeholder
must be set (`template.fill`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from rlossctl.prototxt.template import PLACEHOLDER, STRING, split_comment

_STRING = re.compile(rf"\b(\w+)\s*:\s*({STRING})")


@dataclass(frozen=True, eq=False)
class Placeholders(Mapping[str, object]):
    """Values for `${NAME}`, and the places in a prototxt where one may stay unset.

    Attributes:
        given: explicit settings.
        unread: string fields, as `keep` takes them.
    """

    given: Mapping[str, object]
    unread: Collection[str] | None = None

    def __getitem__(self, name: str) -> object:
        return self.given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.given)

    def __len__(self) -> int:
        return len(self.given)

    def of(self, text: str) -> dict[str, object]:
        """The values for one prototxt, with what may stay unset in it."""
        return keep([text], self.given, self.unread)


def keep(
    texts: Iterable[str], values: Mapping[str, object], fields: Collection[str] | None = None
) -> dict[str, object]:
    """The values, plus its own text for each unset placeholder that may stay unset.

    Args:
        texts: the prototxts that are filled with the same values.
        values: explicit settings; placeholders that the environment sets are not kept either.
        fields: string fields that are not read: `source`; `snapshot_prefix/` (its folders; its last part is
            read); `/name` (of the file's own message, not of its layers). None: no string is read. A
            placeholder that also occurs elsewhere is not kept.
    """
    unread: set[str] = set()
    read: set[str] = set()
    for text in texts:
        for name, plain, spellings in _occurrences(text):
            free = bool(spellings) and (fields is None or not spellings.isdisjoint(fields))
            (unread if plain and free else read).add(name)
    kept = unread - read - values.keys() - os.environ.keys()
    return {**values, **{name: f"${{{name}}}" for name in sorted(kept)}}


def _occurrences(text: str) -> Iterator[tuple[str, bool, set[str]]]:
    """Each placeholder: its name, whether it has no default, and the possible names of the field around it.

    Outside strings there are no such names.
    """
    if not PLACEHOLDER.search(text):
        return
    depth = 0
    for line in text.split("\n"):
        code = split_comment(line)[0]
        strings = list(_STRING.finditer(code))
        bare = PLACEHOLDER.sub(_blank, _STRING.sub(_blank, code))
        for match in PLACEHOLDER.finditer(code):
            around = [string for string in strings if string.start(2) < match.start() < string.end(2)]
            within = depth + _opened(bare[: match.start()])
            spellings = _spellings(around[0], match.end(), within) if around else set()
            yield match[1], match[0] == f"${{{match[1]}}}", spellings
        depth += _opened(bare)


def _blank(match: re.Match[str]) -> str:
    return " " * len(match[0])


def _opened(code: str) -> int:
    return sum(code.count(brace) for brace in "{<") - sum(code.count(brace) for brace in "}>")


def _spellings(string: re.Match[str], end: int, depth: int) -> set[str]:
    field = string[1]
    in_folder = "/" in string.string[end : string.end(2)]
    return {field, *([f"{field}/"] if in_folder else ()), *([f"/{field}"] if depth == 0 else ())}
