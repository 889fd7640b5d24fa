"""Configurations of other training programs, turned into a solver and nets. One file per program."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from rlossctl.converters.programs.plan import Plan, Program
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
    return write(program, plan_of(program, found), found, out)


def plan_of(program: Program, found: Found) -> Plan:
    """What a configuration becomes; raises UsageError as `translate` does."""
    keys = found.keys()
    try:
        return program.translate(keys)
    except (TypeError, ValueError, KeyError, ArithmeticError, AttributeError) as error:
        raise UsageError(
            "a setting has an impossible value",
            where=found.where,
            found=f"{keys.last} = {keys.take(keys.last)!r} ({error})",
            expected="a value as the program takes it",
            advice="correct the configuration",
        ) from error


__all__ = ["Translated", "read", "translate"]
