"""Finds everything in a text that the schema does not know: fields, enum values, words instead of strings.

protobuf's parser stops at the first problem. This one reads only names, braces and values, in a text that the
parser has refused. If it cannot follow the text, it finds nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from rlossctl.prototxt import forks, upgrade

_TOKEN = re.compile(
    r'(?P<skip>#[^\n]*|[ \t\r\f,;]+)|(?P<line>\n)|(?P<text>"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')'
    r"|(?P<open>[{<])|(?P<close>[}>])|(?P<list>[\[\]])|(?P<colon>:)|(?P<word>[^\s{}<>\[\]:;,#\"']+)"
)
_WORD = re.compile(r"[A-Za-z_]\w*$")
SHOWN = 20  # rows in a message; the others are counted


@dataclass
class _Layer:
    """The part of a layer block that has been read."""

    line: int
    name: str = ""
    type: str = ""


@dataclass
class Unknown:
    """Something that the schema does not know.

    Attributes:
        line: its line.
        path: the fields that lead to it inside its layer, or inside the net or solver.
        message: the message that does not have it.
        value: the value that the field cannot take; "" if the field itself is unknown.
        layer: the layer that contains it; None at the top.
    """

    line: int
    path: str
    message: str
    value: str = ""
    layer: _Layer | None = field(default=None)

    @property
    def fork(self) -> str:
        """The fork that it comes from, if known."""
        own = "" if self.value else forks.of_field(self.message, self.path.rpartition(".")[2])
        return own or (forks.of_type(self.layer.type) if self.layer else "")

    @property
    def what(self) -> str:
        """The field, with the value that it cannot take."""
        return f"{self.path}: {self.value}" if self.value else self.path


def unknown(text: str, descriptor: Descriptor) -> list[Unknown]:
    """Everything in a text that a message does not know; nothing if the text cannot be followed."""
    try:
        reader = _Reader(text)
        found = reader.read(descriptor)
    except _Lost:
        return []
    return found and found + _foreign_types(reader.layers, found)


def _foreign_types(layers: list[_Layer], found: list[Unknown]) -> list[Unknown]:
    """Layers of types that only other forks have, if nothing else was found in them."""
    told = {id(one.layer) for one in found}
    return [
        Unknown(layer.line, "type", "LayerParameter", layer.type, layer)
        for layer in layers
        if forks.of_type(layer.type) and id(layer) not in told
    ]


def report(found: list[Unknown]) -> str:
    """One row for each kind of finding, with its first place and the number of the others."""
    groups: dict[tuple[str, str], list[Unknown]] = {}
    for one in found:
        groups.setdefault((one.layer.type if one.layer else "", one.what), []).append(one)
    rows = [_row(group) for group in groups.values()]
    more = [f"and {len(rows) - SHOWN} more"] if len(rows) > SHOWN else []
    return "\n            ".join(rows[:SHOWN] + more)


def advice(found: list[Unknown]) -> str:
    """What to do about it."""
    for one in found:
        if one.path == "type" and one.layer is not None and one.value:
            if one.message == "LayerParameter" and not one.fork:
                return (
                    f'inside `layer` write type: "{upgrade.camel_case(one.value)}"; names in capitals '
                    "without quotes go with the old `layers`"
                )
            if one.value[0] in "\"'":
                return "inside `layers` the type is a name in capitals without quotes; or write `layer`"
    if all(one.value and not one.fork for one in found):
        return "put strings in quotes, and check the spelling of the values"
    if all(one.fork for one in found):
        return (
            "these layers are not computed here: cut the net before them, or leave out fields that the net "
            "does not need"
        )
    return (
        "correct the spelling, leave out fields that the net can do without, or add the layer "
        "(CONTRIBUTING.md)"
    )


def _row(group: list[Unknown]) -> str:
    first = group[0]
    row = f"line {first.line}: {first.what}"
    if first.layer is not None:
        row += f" in layer {first.layer.name!r} ({first.layer.type or 'no type'})"
    if first.fork:
        row += f", of {first.fork}"
    return row + (f"; {len(group) - 1} more like it" if len(group) > 1 else "")


class _Lost(Exception):
    """The text does not have the form of a message."""


class _Reader:
    """Goes through a text with the descriptors of its messages."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._found: list[Unknown] = []
        self.layers: list[_Layer] = []

    def read(self, descriptor: Descriptor) -> list[Unknown]:
        self._message(descriptor, "", None, "")
        return self._found

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "", 0)

    def _next(self) -> tuple[str, str, int]:
        token = self._peek()
        self._at += 1
        return token

    def _message(self, descriptor: Descriptor, path: str, layer: _Layer | None, end: str) -> None:
        while True:
            kind, word, line = self._next()
            if kind == "end" and not end:
                return
            if kind == "close" and word == end:
                return
            if kind != "word" or not _WORD.match(word):
                raise _Lost
            known = descriptor.fields_by_name.get(word)
            where = f"{path}.{word}" if path else word
            if known is None:
                self._found.append(Unknown(line, where, descriptor.name, "", layer))
                self._skip_value()
            else:
                self._value(known, where, layer, line)

    def _value(self, known: FieldDescriptor, path: str, layer: _Layer | None, line: int) -> None:
        if self._peek()[0] == "colon":
            self._next()
        if self._peek()[0] == "open":
            _, brace, _ = self._next()
            if known.message_type is None:
                raise _Lost
            if known.message_type.name in ("LayerParameter", "V1LayerParameter"):
                layer, path = _Layer(line), ""
                self.layers.append(layer)
            self._message(known.message_type, path, layer, {"{": "}", "<": ">"}[brace])
        elif self._peek()[1] == "[":
            self._skip_list()
        else:
            self._scalar(known, path, layer)

    def _scalar(self, known: FieldDescriptor, path: str, layer: _Layer | None) -> None:
        kind, word, line = self._next()
        if kind not in ("word", "text") or known.message_type is not None:
            raise _Lost
        value = word[1:-1] if kind == "text" else word
        if layer is not None and path in ("name", "type"):
            setattr(layer, path, value)
        if kind == "text":
            while self._peek()[0] == "text":  # adjacent strings are one
                self._next()
        if not _fits(known, kind, value):
            message = known.containing_type.name if known.containing_type else ""
            self._found.append(Unknown(line, path, message, word, layer))

    def _skip_value(self) -> None:
        if self._peek()[0] == "colon":
            self._next()
        kind, word, _ = self._peek()
        if kind == "open":
            self._skip_block()
        elif word == "[":
            self._skip_list()
        elif kind in ("word", "text"):
            self._next()
            while kind == "text" and self._peek()[0] == "text":
                self._next()
        else:
            raise _Lost

    def _skip_block(self) -> None:
        depth = 0
        while True:
            kind, _, _ = self._next()
            depth += {"open": 1, "close": -1}.get(kind, 0)
            if kind == "end":
                raise _Lost
            if not depth:
                return

    def _skip_list(self) -> None:
        while True:
            kind, word, _ = self._next()
            if kind == "end":
                raise _Lost
            if word == "]":
                return


def _fits(known: FieldDescriptor, kind: str, value: str) -> bool:
    """Whether a scalar can have the field's type, judged by words and strings."""
    if known.enum_type is not None:
        number = kind == "word" and value.lstrip("-").isdigit()
        return number or (kind == "word" and value in known.enum_type.values_by_name)
    wants_text = known.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
    return wants_text == (kind == "text")


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    """(kind, token, line) of everything but space and comments."""
    line, at = 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _Lost
        at, kind = match.end(), str(match.lastgroup)
        if kind == "line":
            line += 1
        elif kind != "skip":
            yield kind, match[0], line
