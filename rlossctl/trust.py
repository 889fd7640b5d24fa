"""What the user allows this process to run: files from elsewhere never run as programs without consent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_PYTHON_LAYERS: ContextVar[bool] = ContextVar("python_layers", default=False)


@contextlib.contextmanager
def python_layers_allowed() -> Iterator[None]:
    """Inside the block, nets may load the modules named by their layers of type Python.

    Such a module is a program with all the rights of this process: read it before you allow it.
    """
    token = _PYTHON_LAYERS.set(True)
    try:
        yield
    finally:
        _PYTHON_LAYERS.reset(token)


def allows_python_layers() -> bool:
    """Whether the caller is inside `python_layers_allowed`."""
    return _PYTHON_LAYERS.get()
