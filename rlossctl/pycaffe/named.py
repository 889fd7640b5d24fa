"""Blobs, layers and weights by name, with the methods that Python 2's dictionaries had."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


class Named(OrderedDict[str, T]):
    """An OrderedDict that old loops run over: `for name, blob in net.params.iteritems()`."""

    def iteritems(self) -> Iterator[tuple[str, T]]:
        """Pairs of name and value."""
        return iter(self.items())

    def itervalues(self) -> Iterator[T]:
        """The values."""
        return iter(self.values())

    def iterkeys(self) -> Iterator[str]:
        """The names."""
        return iter(self)

    def has_key(self, name: str) -> bool:
        """Whether there is such a name."""
        return name in self
