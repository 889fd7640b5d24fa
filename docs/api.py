"""Writes api.md, for docs/generate.py: the package's public names with their signatures and docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType

HEAD = """# Python

The names that are meant to be used, with what their docstrings say. Everything else may change without
notice. `import rlossctl` is cheap: PyTorch is loaded when a name is first used. Arrays and tensors are
(images, channels, height, width). Whatever goes wrong is a `rlossctl.errors.RlossError`, which says where,
what was found, what was expected and what to do.
"""
# Where the names live, and the first lines of each part.
MODULES = {
    "rlossctl": "Nets, trainings, conversions and scores.",
    "rlossctl.losses": "Losses for any PyTorch training loop; [losses.md](losses.md) says when to use which.",
    "rlossctl.bilateral": "The filter of the DenseCRF loss, and mean field on it; [filter.md](filter.md).",
    "rlossctl.grid": "Dual decomposition over rows and columns; "
    "[losses.md](losses.md#a-crf-as-the-head-dualdecompositioncrf).",
    "rlossctl.evaluation": "Predictions and scores; [evaluation.md](evaluation.md) defines them.",
}
TITLES = {"Args": "Arguments"}
SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Yields):$")
ITEM = re.compile(r"([\w*., ]+?): (.*)$")


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    shown: list[object] = []
    for name, about in MODULES.items():
        module = importlib.import_module(name)
        parts.append(f"## {name}\n\n{about}\n")
        for each in sorted((each for each in module.__all__ if not each.startswith("__")), key=str.lower):
            if not any(getattr(module, each) is other for other in shown):  # a name that is exported twice
                parts.append("\n".join(entry(module, each)))
                shown.append(getattr(module, each))
    return "\n".join(parts)


def entry(module: ModuleType, name: str) -> Iterator[str]:
    """A name's heading, signature and docstring, with the public methods of a class."""
    value = getattr(module, name)
    yield f"### {name}\n"
    yield f"```python\n{signature(name, value)}\n```\n"
    yield from docstring(value)
    if inspect.isclass(value):
        for method, function in own_methods(value):
            text = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
            yield f"- **`{signature(method, function)}`**: {text}"
        yield ""


def signature(name: str, value: object) -> str:
    """As one writes a call, with types; lines of at most 100 characters."""
    if not callable(value) or (inspect.isclass(value) and issubclass(value, Warning)):
        return name
    whole = inspect.signature(value)
    parameters = [each for key, each in whole.parameters.items() if key != "self"]
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(whole.replace(parameters=parameters)))
    text = re.sub(r"<(?:\w+\.)*(\w+) object at 0x\w+>", r"\1()", text)  # a default without a repr of its own
    if len(name + text) <= 100:
        return name + text
    return re.sub(r"\((.*)\)", lambda found: f"(\n    {broken(found[1])},\n)", name + text, count=1)


def broken(parameters: str) -> str:
    """Parameters on lines of their own: split at the commas outside brackets."""
    text, depth = "", 0
    for letter in parameters:
        depth += (letter in "([{") - (letter in ")]}")
        text += ",\n   " if letter == "," and depth == 0 else letter
    return text


def own_methods(cls: type) -> Iterator[tuple[str, object]]:
    """Public methods with a docstring that the class itself defines; a module's forward is its call."""
    for name, value in vars(cls).items():
        if name.startswith("_") or name == "forward" or not inspect.isfunction(value):
            continue
        if value.__doc__:
            yield name, value


def docstring(value: object) -> Iterator[str]:
    """A docstring as Markdown: code stays code, and the sections' items become lists."""
    in_section = False
    for line in (inspect.getdoc(value) or "").split("\n"):
        section = SECTION.match(line)
        if section:
            in_section = True
            yield f"**{TITLES.get(section[1], section[1])}**\n"
        elif not in_section or not line.strip():
            yield line
        else:
            item = ITEM.match(line[4:]) if line.startswith("    ") and not line.startswith("     ") else None
            yield f"- `{item[1]}`: {item[2]}" if item else f"  {line.strip()}"
    yield ""
