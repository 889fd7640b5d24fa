"""Configurations of other training programs, turned into a solver and nets. One file per program."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from rlossctl.converters.programs.plan import Program
from rlossctl.converters.programs.reading import Found, read
from rlossctl.converters.programs.writing import Translated, write
from rlossctl.errors import UsageError


def _programs() -> tuple[Program, ...]:
    """The PROGRAM of every file here; a new one needs no other change."""
    names = (f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__))
    modules = (importlib.import_module(name) for name in names)
    return tuple(module.PROGRAM for module in modules if hasattr(module, "PROGRAM"))


PROGRAMS = _programs()


def translate(found: Found, out: Path) -> Translated:
    """Writes solver.prototxt, train.prototxt and test.prototxt below `out`.

    Raises:
        UsageError: the configuration is from an unknown program, or of a network that rlossctl does not have.
        RlossError: the folder cannot be written.
    """
    program = next((program for program in PROGRAMS if program.fits(found)), None)
    if program is None:
        raise UsageError(
            "this is not the configuration of a known program",
            where=found.where,
            found=", ".join(list(found.values)[:8]) or "nothing",
            expected="; ".join(program.title for program in PROGRAMS),
            advice="write a solver and a net instead: rlossctl net --list has networks to start from",
        )
    return write(program, program.translate(found.keys()), found, out)


__all__ = ["Translated", "read", "translate"]
