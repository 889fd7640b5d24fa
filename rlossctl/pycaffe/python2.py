"""Reading Python 2: scripts of Caffe's time, and the modules beside them, run as they are.

fissix (2to3's successor) translates the syntax and the library's names in memory; nothing is written. The
quotient of two integers stays an integer, as Python 2 has it, unless the file says `from __future__ import
division`.
"""

from __future__ import annotations

import ast
import builtins
import logging
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import decode_source, find_spec
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from rlossctl.errors import RlossWarning
from rlossctl.pycaffe.advice import is_script

_DIVIDE, _DIVIDE_INTO = "__python2_divide", "__python2_divide_into"


class ReadAsPython2(RlossWarning):
    """A file is Python 2, and is read as such."""


def compiled(source: bytes, filename: str, *, always: bool = False) -> CodeType:
    """The code of a script or module, Python 3 or 2.

    Args:
        always: it is Python 2 although it could be Python 3.

    Raises:
        SyntaxError: it is neither, or it is Python 2 and fissix is not installed.
        RlossError: `always`, and fissix is not installed.
    """
    if not always:
        try:
            return compile(source, filename, "exec", dont_inherit=True)
        except SyntaxError:
            text = _translated(source, filename)
            if text is None:
                raise
        warnings.warn(f"{filename} is Python 2, and is read as Python 2", ReadAsPython2, stacklevel=2)
    else:
        text = _translated(source, filename)
    tree = ast.parse(decode_source(source) if text is None else text, filename)
    if not _divides_truly(tree):
        tree = ast.fix_missing_locations(_Division().visit(tree))
    return compile(tree, filename, "exec", dont_inherit=True)


def read_old_modules(*, always: bool = False) -> None:
    """From here on imports of this process read the user's modules as `compiled` does."""
    vars(builtins).update({_DIVIDE: divide, _DIVIDE_INTO: divide_into})
    sys.meta_path.insert(0, _Finder(always))


class _Finder:
    """Finds what Python finds; the user's own files get a loader that also reads Python 2."""

    def __init__(self, always: bool) -> None:
        self._always = always

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module's place and loader; None leaves it to the others."""
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader or not is_script(spec.origin or ""):
            return None
        spec.loader = _Loader(name, spec.loader.path, self._always)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, always: bool) -> None:
        super().__init__(name, path)
        self._always = always

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        """Compiles the module."""
        return compiled(data, str(path), always=self._always)

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Keeps no byte code: Python itself would take it for its own."""


def divide(a: Any, b: Any) -> Any:
    """Python 2's a / b."""
    return a // b if _whole(a) and _whole(b) else a / b


def divide_into(a: Any, b: Any) -> Any:
    """Python 2's a /= b; an array stays the same object."""
    if _whole(a) and _whole(b):
        a //= b
    else:
        a /= b
    return a


class _Division(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """a / b."""
        self.generic_visit(node)
        if not isinstance(node.op, ast.Div):
            return node
        return ast.copy_location(_call(_DIVIDE, node.left, node.right), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """a /= b."""
        self.generic_visit(node)
        if not isinstance(node.op, ast.Div):
            return node
        read = ast.parse(ast.unparse(node.target), mode="eval").body
        value = _call(_DIVIDE_INTO, read, node.value)
        return ast.copy_location(ast.Assign(targets=[node.target], value=value), node)


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(func=ast.Name(id=name, ctx=ast.Load()), args=list(arguments), keywords=[])


def _whole(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "iub"
    return isinstance(value, int | np.integer)


def _divides_truly(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "division" for alias in node.names)
        for node in tree.body
    )


def _translated(source: bytes, filename: str) -> str | None:
    """Python 2 as Python 3; None if it is not Python 2, or without fissix."""
    if find_spec("fissix") is None:
        return None
    from fissix.pgen2.parse import ParseError
    from fissix.pgen2.tokenize import TokenError

    text = decode_source(source)
    try:
        return str(_tool().refactor_string(text if text.endswith("\n") else text + "\n", filename))
    except (ParseError, TokenError):
        return None


@cache
def _tool() -> Any:
    from fissix import refactor

    logging.getLogger("RefactoringTool").setLevel(logging.ERROR)
    logging.getLogger("fissix").setLevel(logging.ERROR)
    # fix_future would take `from __future__ import division` away, which says what / means.
    names = [
        name for name in refactor.get_fixers_from_package("fissix.fixes") if not name.endswith("fix_future")
    ]
    return refactor.RefactoringTool(names)
