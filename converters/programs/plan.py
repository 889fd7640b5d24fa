"""What a program's configuration becomes, and which of its keys have no counterpart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rlossctl.converters.programs.reading import Found
    from rlossctl.prototxt.messages import LayerParameter, NetParameter

UNREAD = "the program does not read it"


class Refused(NamedTuple):
    """A key that is not honoured, and why."""

    key: str
    value: Any
    why: str


class Keys:
    """A configuration's values. What is not taken by the end is not honoured."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values, self._taken = values, set[str]()
        self._refused: list[Refused] = []
        self.last = ""  # the key taken last

    def take(self, key: str, default: Any = None) -> Any:
        """A value that is honoured; the default where the configuration does not have the key."""
        self._taken.add(key)
        self.last = key
        return self._values.get(key, default)

    def number(self, key: str, default: float) -> float:
        """As `take`, as a number."""
        return float(self.take(key, default))

    def flag(self, key: str, default: bool = False) -> bool:
        """As `take`, as a truth value; text counts as the programs' command lines take it."""
        value = self.take(key, default)
        return value.lower() in ("yes", "true", "t", "y", "1") if isinstance(value, str) else bool(value)

    def refuse(self, key: str, why: str) -> None:
        """Says why a key is not honoured; nothing if the configuration does not have it."""
        self._taken.add(key)
        if key in self._values:
            self._refused.append(Refused(key, self._values[key], why))

    def refuse_unless(self, key: str, value: Any, why: str) -> None:
        """The same, unless it has this value, with which nothing changes."""
        if self._values.get(key, value) == value:
            self._taken.add(key)
        else:
            self.refuse(key, why)

    def refuse_below(self, prefix: str, why: str) -> None:
        """Refuses every key with this prefix that was not taken."""
        for key in self._values:
            if key.startswith(prefix) and key not in self._taken:
                self.refuse(key, why)

    def refused(self) -> list[Refused]:
        """Every key that is not honoured, in the configuration's order."""
        self.refuse_below("", "unknown key")
        order = {key: place for place, key in enumerate(self._values)}
        return sorted(self._refused, key=lambda entry: order[entry.key])


@dataclass
class Plan:
    """A solver and its nets.

    Attributes:
        network: the network's name in `rlossctl net --list`.
        train: the name of its training net.
        placeholders: values for the network's placeholders.
        solver: fields of SolverParameter.
        transform: fields of the training data's TransformationParameter, in place of `scale_factors`.
        images: fields of its ImageDataParameter.
        edits: change the training net.
        model: change both nets.
        notes: what the user should know or do.
        refused: the keys that are not honoured.
    """

    network: str
    train: str = "train"
    placeholders: dict[str, Any] = field(default_factory=dict)
    solver: dict[str, Any] = field(default_factory=dict)
    transform: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)
    edits: list[Callable[[NetParameter], None]] = field(default_factory=list)
    model: list[Callable[[NetParameter], None]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """A training program whose configurations are known.

    Attributes:
        name, title: what to call it, and its configuration, in messages.
        fits: whether a configuration is one of this program.
        translate: makes the plan.
    """

    name: str
    title: str
    fits: Callable[[Found], bool]
    translate: Callable[[Keys], Plan]


def layer(net: NetParameter, name: str) -> LayerParameter:
    """A net's layer of this name."""
    return next(layer for layer in net.layer if layer.name == name)


def iterations(epochs: float, images: int, batch: int) -> int:
    """Updates in so many epochs, each of which ends with a smaller batch."""
    return math.ceil(epochs * math.ceil(images / batch))
