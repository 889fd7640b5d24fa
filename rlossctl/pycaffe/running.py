"""Running a script that says `import caffe`."""

from __future__ import annotations

import builtins
import os
import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from rlossctl.errors import RlossError
from rlossctl.pycaffe.advice import advised, is_script
from rlossctl.pycaffe.installing import install
from rlossctl.pycaffe.python2 import compiled, read_old_modules


def run_script(
    script: str, arguments: Sequence[str] = (), *, module: bool = False, python2: bool = False
) -> None:
    """Runs a script in this process, which gets a module called caffe.

    It runs as `python SCRIPT ARGUMENTS` would run it: as `__main__`, with its folder first in sys.path. That
    is consent to run the Python layers that its nets name. Python 2 is read as such, also in the modules
    beside it.

    Args:
        module: `script` is a module's name, as with `python -m`.
        python2: the user's files are Python 2, although they could be Python 3.

    Raises:
        RlossError: there is no such file, or the script fails with an error whose meaning is known. Its
            traceback has been printed.
        SystemExit: the script says so, or fails with another error; then with status 1.
    """
    if not module and not os.path.isfile(script):
        raise RlossError("there is no such script", where=script, expected="a Python file")
    install()
    read_old_modules(always=python2)
    sys.argv = [script, *arguments]
    sys.path.insert(0, os.getcwd() if module else os.path.dirname(os.path.realpath(script)))
    try:
        if module:
            runpy.run_module(script, run_name="__main__", alter_sys=True)
        else:
            _run_file(script, python2)
    except Exception as error:
        _print(error)
        paragraph = advised(error)
        if paragraph is None:
            sys.exit(1)
        raise paragraph from None


def _run_file(script: str, python2: bool) -> None:
    main_module = ModuleType("__main__")
    vars(main_module).update(__file__=script, __builtins__=builtins)
    sys.modules["__main__"] = main_module
    exec(compiled(Path(script).read_bytes(), script, always=python2), vars(main_module))


def main(arguments: Sequence[str]) -> None:
    """`python -m rlossctl.pycaffe SCRIPT ARGUMENTS`, or with -m and a module's name."""
    module = list(arguments[:1]) == ["-m"]
    rest = arguments[module:]
    if not rest:
        print("usage: python -m rlossctl.pycaffe [-m] SCRIPT [ARGUMENTS]", file=sys.stderr)
        sys.exit(2)
    try:
        run_script(rest[0], rest[1:], module=module)
    except RlossError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _print(error: Exception) -> None:
    """The traceback from the script on; of an error of ours, whose text follows, the script's lines alone."""
    trace = error.__traceback__
    while trace is not None and not is_script(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    sys.stdout.flush()
    if isinstance(error, RlossError):
        lines = [frame for frame in traceback.extract_tb(trace) if is_script(frame.filename)]
        print("Traceback (most recent call last):", file=sys.stderr)
        sys.stderr.writelines(traceback.format_list(lines))
    else:
        traceback.print_exception(error.with_traceback(trace))
