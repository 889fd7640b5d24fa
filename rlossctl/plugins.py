"""Layers from outside: a Python file that the user names, and packages that register layers.

A plugin is a program with all the rights of this process. A file runs because the user names it, a package
because the user installed it.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path

from rlossctl.errors import RlossError, UsageError

LAYERS = "rlossctl.layers"  # entry points: modules that register layers
FIELDS = "rlossctl.fields"  # entry points: functions that declare fields, called before the first net is read
_LOADED: list[Path] = []


def load(path: str | Path) -> None:
    """Runs a Python file that registers layers (`rlossctl.net.registry.register`).

    Raises:
        UsageError: it is not a Python file, or it fails.
    """
    file = Path(path)
    name = f"rlossctl_plugin_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise UsageError("is not a plugin", where=file, expected="an existing file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except RlossError:
        raise
    except Exception as error:
        raise UsageError(
            "the plugin fails",
            where=file,
            found=f"{type(error).__name__}: {error}",
            expected="a file that declares fields and registers layers (docs/plugins.md)",
        ) from error
    _LOADED.append(file.resolve())


def loaded() -> tuple[Path, ...]:
    """The files that have run in this process, for processes that do its work."""
    return tuple(_LOADED)


def load_installed(group: str) -> None:
    """Loads what installed packages offer: modules for LAYERS, functions to call for FIELDS."""
    for entry in entry_points(group=group):
        found = entry.load()
        if group == FIELDS:
            found()
