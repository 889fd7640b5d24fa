"""Wheel and sdist as a stranger gets them: what is in them, and that they run away from the checkout.

They share built wheels, so they are in one file, which one process runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.packaging.conftest import Sdist, Wheel

pytestmark = pytest.mark.slow


def test_wheel_holds_everything_it_needs(wheel: Wheel, repository: Path) -> None:
    found = set(wheel.names)
    assert "rlossctl/py.typed" in found
    assert "rlossctl/prototxt/schema.desc" in found
    assert "rlossctl/converters/__init__.py" in found
    assert any(name.startswith("rlossctl/_native.") for name in found)

    for room in ("converters", "configs"):
        here = {path.relative_to(repository).as_posix() for path in (repository / room).rglob("*.*")}
        unwanted = {"configs/make.py", "configs/README.md"}
        wanted = {name for name in here - unwanted if not name.endswith((".pyc", ".part"))}
        assert wanted == {
            name.removeprefix("rlossctl/") for name in found if name.startswith(f"rlossctl/{room}/")
        }


def test_wheel_holds_nothing_else(wheel: Wheel) -> None:
    assert len(wheel.names) == len(set(wheel.names))
    rooms = {name.split("/")[0] for name in wheel.names}
    assert {room for room in rooms if not room.endswith(".dist-info")} == {"rlossctl"}

    strays = {".proto", ".cpp", ".caffemodel", ".npz", ".npy", ".png", ".jpg", ".pyc"}
    assert not {name for name in wheel.names if Path(name).suffix in strays}
    assert not {name for name in wheel.names if {"tests", "golden", "shared"} & set(Path(name).parts)}


def test_wheel_imports_outside_the_checkout(wheel: Wheel, tmp_path: Path) -> None:
    program = """
import rlossctl, rlossctl.cli, rlossctl._native
from rlossctl.prototxt import schema

assert schema.descriptor("NetParameter").full_name == "rlossctl.NetParameter"
assert "torch" not in sys.modules
print(rlossctl.__file__, rlossctl._native.__file__, sep="\\n")
"""
    for file in wheel.run(tmp_path, program).split():
        assert Path(file).is_relative_to(wheel.folder)


def test_wheel_runs_as_a_module_without_torch(wheel: Wheel, tmp_path: Path) -> None:
    program = """
import atexit, runpy
atexit.register(lambda: print("torch loaded:", "torch" in sys.modules))
runpy.run_module("rlossctl", run_name="__main__")
"""
    printed = wheel.run(tmp_path, program, "--help")
    assert "Usage:" in printed
    assert "torch loaded: False" in printed


def test_wheel_knows_data_sets_and_what_to_fetch(wheel: Wheel, tmp_path: Path) -> None:
    program = """
import runpy
runpy.run_module("rlossctl", run_name="__main__")
"""
    assert "VOCtrainval_11-May-2012.tar" in wheel.run(tmp_path, program, "fetch", "--list", "voc2012")


def test_wheel_finds_its_configs(wheel: Wheel, tmp_path: Path) -> None:
    program = """
from rlossctl.resources import configs_dir
print(configs_dir())
"""
    folder = Path(wheel.run(tmp_path, program).strip())
    assert folder == wheel.folder / "rlossctl/configs"
    assert (folder / "demo/solver.prototxt").is_file()


def test_wheel_without_a_compiler(plain_wheel: Wheel, wheel: Wheel) -> None:
    compiled = {name for name in wheel.names if name.startswith("rlossctl/_native")}
    assert set(plain_wheel.names) == set(wheel.names) - compiled
    assert plain_wheel.log.count("the native kernel is not built") == 1
    assert "apt install g++" in plain_wheel.log


def test_building_leaves_the_checkout_as_it_was(wheel: Wheel, plain_wheel: Wheel) -> None:
    assert not wheel.left and not plain_wheel.left


def test_sdist_holds_every_file_once(sdist: Sdist, repository: Path) -> None:
    assert len(sdist.names) == len(set(sdist.names))
    for room in ("rlossctl", "native", "proto", "converters", "configs", "tests"):
        here = {path.relative_to(repository).as_posix() for path in (repository / room).rglob("*.*")}
        built = {name for name in here if name.endswith((".so", ".pyc", "schema.desc")) or "/." in name}
        assert {name for name in here - built if (repository / name).is_file()} <= set(sdist.names)
    assert not [name for name in sdist.names if name.endswith((".so", ".pyc", "schema.desc"))]


def test_links_of_the_sdist_lead_somewhere(sdist: Sdist) -> None:
    links = {path.name: path for path in sdist.folder.rglob("*") if path.is_symlink()}
    assert set(links) == {"converters", "configs"}
    for name, link in links.items():
        assert link.parent == sdist.folder / "rlossctl"
        assert link.resolve() == (sdist.folder / name).resolve()


def test_wheel_of_the_sdist_is_the_wheel_of_the_checkout(wheel_of_sdist: Wheel, plain_wheel: Wheel) -> None:
    assert sorted(wheel_of_sdist.names) == sorted(plain_wheel.names)


def test_wheel_of_the_sdist_imports_outside_of_it(wheel_of_sdist: Wheel, tmp_path: Path) -> None:
    program = "import rlossctl.converters.formats.caffemodel as module; print(module.__file__)"
    printed = wheel_of_sdist.run(tmp_path, program).strip()
    assert Path(printed) == wheel_of_sdist.folder / "rlossctl/converters/formats/caffemodel.py"
