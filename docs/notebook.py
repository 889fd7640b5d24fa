"""Runs docs/notebook.ipynb and keeps what its cells print and show: `python docs/notebook.py`."""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).resolve().parent / "notebook.ipynb"


def run(notebook: dict[str, Any]) -> None:
    """Runs the code cells in one namespace, in the current folder, and sets their outputs as Jupyter does."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, 1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = execute("".join(cell["source"]), f"cell {number}", names)
        cell["execution_count"] = number
        cell["outputs"] = [*stream(printed.getvalue()), *result(value, number)]


def execute(source: str, where: str, names: dict[str, Any]) -> object:
    """The value of the last line if it is an expression, as a notebook shows it."""
    body = ast.parse(source, where).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), where, "exec"), names)
    return eval(compile(ast.Expression(last.value), where, "eval"), names) if last else None


def stream(text: str) -> Iterator[dict[str, Any]]:
    if text:
        yield {"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}


def result(value: object, number: int) -> Iterator[dict[str, Any]]:
    """A picture as PNG, anything else as text."""
    if value is None:
        return
    data: dict[str, Any] = {"text/plain": [repr(value)]}
    if hasattr(value, "_repr_png_"):
        data = {"image/png": base64.b64encode(value._repr_png_()).decode(), "text/plain": ["a picture"]}
    yield {"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"}


def main() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        run(notebook)
        os.chdir(NOTEBOOK.parent)
    NOTEBOOK.write_text(json.dumps(notebook, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
