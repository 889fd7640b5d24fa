"""ARCHITECTURE.md's table of rooms against the imports of the code, and no circles of modules or rooms."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ANYTHING = "anything"
GROUND = (
    "errors",
    "files",
    "remote",
    "locks",
    "lazy",
    "progress",
    "optional",
    "trust",
    "plugins",
    "counts",
    "words",
    "postponed",
    "resources",
    "",
)


class Import(NamedTuple):
    """One module imports another; `late` where that happens inside a function or for a type checker alone."""

    importer: str
    imported: str
    late: bool


class Imports(ast.NodeVisitor):
    """Collects what one module imports of the package."""

    def __init__(self, modules: Mapping[str, Path]) -> None:
        self.modules, self.late = modules, False
        self.found: list[tuple[str, bool]] = []

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            target = full if full in self.modules else node.module
            if target in self.modules:
                self.found.append((target, self.late))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._inside(node)

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            self._inside(node)
        else:
            self.generic_visit(node)

    def _inside(self, node: ast.AST) -> None:
        before, self.late = self.late, True
        self.generic_visit(node)
        self.late = before


@pytest.fixture(scope="module")
def modules(repository: Path) -> dict[str, Path]:
    """Every module of the package, by dotted name."""

    def entries() -> Iterator[tuple[str, Path]]:
        for path in sorted(repository.glob("rlossctl/**/*.py")):
            yield path_to_name(path.relative_to(repository)), path
        for linked in ("converters", "configs"):
            for path in sorted(repository.glob(f"{linked}/**/*.py")):
                yield path_to_name(Path("rlossctl") / path.relative_to(repository)), path

    return dict(entries())


def path_to_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


@pytest.fixture(scope="module")
def imports(modules: dict[str, Path]) -> list[Import]:
    found = []
    for name, path in modules.items():
        visitor = Imports(modules)
        visitor.visit(ast.parse(path.read_text()))
        found += [Import(name, target, late) for target, late in visitor.found if target != name]
    return found


@pytest.fixture(scope="module")
def rooms(repository: Path) -> dict[str, set[str]]:
    """Room -> the rooms that it may import besides the ground floor, as ARCHITECTURE.md's table says."""
    table = {}
    for line in (repository / "ARCHITECTURE.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and cells[0].startswith("`"):
            allowed = (
                {ANYTHING} if cells[2].startswith(ANYTHING) else set(re.findall(r"`([\w/]+)`", cells[2]))
            )
            table |= dict.fromkeys(re.findall(r"`([\w/]+)`", cells[0]), allowed)
    return table


def room_of(module: str, rooms: Mapping[str, set[str]]) -> str:
    """The innermost room of the table that holds a module; "" for the ground floor."""
    parts = module.split(".")[1:]
    for length in range(len(parts), 0, -1):
        if (name := "/".join(parts[:length])) in rooms:
            return name
    return ""


def test_every_module_is_in_a_room(modules, rooms) -> None:
    outside = {name for name in modules if not room_of(name, rooms)} - {"rlossctl", "rlossctl.__main__"}
    assert not outside


def test_every_room_is_there(modules, rooms) -> None:
    assert {f"rlossctl.{room.replace('/', '.')}" for room in rooms} <= modules.keys()


@pytest.mark.slow
def test_rooms_import_what_the_table_allows(imports, rooms) -> None:
    wrong = set()
    for importer, imported, _ in imports:
        room, target = room_of(importer, rooms), room_of(imported, rooms)
        if not room or target == room or target in GROUND:
            continue
        if ANYTHING not in rooms[room] and target not in rooms[room]:
            wrong.add(f"{importer} imports {imported}, but the table does not let {room} import {target}")
    assert not wrong


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others(imports) -> None:
    graph: dict[str, set[str]] = {}
    for importer, imported, late in imports:
        if not late:
            graph.setdefault(importer, set()).add(imported)
    assert circle(graph) == []


def test_no_room_imports_itself_by_way_of_others(imports, rooms) -> None:
    graph: dict[str, set[str]] = {}
    for importer, imported, late in imports:
        pair = room_of(importer, rooms), room_of(imported, rooms)
        if not late and pair[0] != pair[1]:
            graph.setdefault(pair[0], set()).add(pair[1])
    assert circle(graph) == []


def test_what_the_command_line_imports_at_once_is_light(imports, rooms) -> None:
    """Torch and its users come when a command runs, not when its help is asked for."""
    commands = [entry for entry in imports if room_of(entry.importer, rooms).startswith("cli")]
    at_once = {room_of(entry.imported, rooms) for entry in commands if not entry.late}
    assert at_once - set(GROUND) <= {"cli", "cli/data", "weights", "data/sets"}
