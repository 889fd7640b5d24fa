"""What libtiff complains of while pillow decodes a TIFF: it writes to standard error, past Python.

Damage that it reads past leaves wrong pixels, and pillow then raises nothing.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import PIL

MOST = 20  # complaints to keep of one picture
_LENGTH = 300  # bytes of a complaint
_PILLOWS = b"tempfile.tif"  # what pillow calls every file
_HEARD = threading.local()
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


@contextmanager
def complaints() -> Iterator[list[str]]:
    """The list fills with what libtiff complains of in this thread; it stays empty without libtiff."""
    _listen()
    lines: list[str] = []
    _HEARD.lines = lines
    try:
        yield lines
    finally:
        _HEARD.lines = None


@cache
def _listen() -> object:
    """Sets libtiff's handler of errors; returns it, because it must live as long as the process."""
    library = _library()
    if library is None:
        return None
    format_text = ctypes.CDLL(None).vsnprintf
    format_text.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p]

    @_Handler
    def hear(module: bytes | None, text: bytes | None, values: int | None) -> None:
        buffer = ctypes.create_string_buffer(_LENGTH)
        format_text(buffer, _LENGTH, text or b"", values)
        told = buffer.value.decode(errors="replace")
        if module and module != _PILLOWS:
            told = f"{module.decode(errors='replace')}: {told}"
        lines = getattr(_HEARD, "lines", None)
        if lines is None:
            print(told, file=sys.stderr)
        elif len(lines) < MOST:
            lines.append(told)

    library.TIFFSetErrorHandler.argtypes = [_Handler]
    library.TIFFSetErrorHandler.restype = ctypes.c_void_p
    library.TIFFSetErrorHandler(hear)
    return hear


def _library() -> ctypes.CDLL | None:
    """The libtiff that pillow has loaded: beside it in a wheel, else the system's."""
    mode = getattr(os, "RTLD_NOLOAD", None)
    if mode is None:  # Windows
        return None
    beside = Path(PIL.__file__).parent.parent / "pillow.libs"
    for name in (*map(str, beside.glob("libtiff*")), "libtiff.so.6", "libtiff.so.5"):
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(name, mode=mode | os.RTLD_NOW)
            if library.TIFFSetErrorHandler:
                return library
    return None
