"""The wheel as a stranger gets it: what is in it, and that it runs away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# Python runs this with -I and -S: no .pth file is read, so neither an editable install of the checkout nor
# PYTHONPATH can lend a module to the wheel; site-packages goes behind it for the dependencies alone.
BOOT = """
import os, sys
unpacked, *site_packages = sys.argv.pop(1).split(os.pathsep)
sys.path[:0] = [unpacked]
sys.path += site_packages
sys.argv[0] = "rlossctl"
"""


def build(checkout: Path, folder: Path, **environment: str) -> tuple[Path, str]:
    """Builds the wheel of `checkout` in `folder`; returns the unpacked wheel and pip's log."""
    command = [sys.executable, "-m", "pip", "wheel", ".", "--verbose", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(folder)],
        cwd=checkout,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    (wheel,) = folder.glob("rlossctl-*.whl")
    unpacked = folder / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    return unpacked, done.stdout


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel, built as usual."""
    return build(repository, tmp_path_factory.mktemp("wheel"))[0]


def names(unpacked: Path) -> set[str]:
    return {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}


def run(unpacked: Path, cwd: Path, program: str, *arguments: str) -> str:
    """What `program` prints when only the unpacked wheel can be imported as rlossctl."""
    site_packages = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    path = os.pathsep.join([str(unpacked), *site_packages])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", BOOT + program, path, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_holds_everything_it_needs(wheel: Path, repository: Path) -> None:
    found = names(wheel)
    assert "rlossctl/prototxt/schema.desc" in found
    assert "rlossctl/converters/__init__.py" in found
    assert any(name.startswith("rlossctl/_native.") for name in found)

    configs = {path.relative_to(repository).as_posix() for path in repository.glob("configs/**/*.prototxt")}
    assert configs
    assert {f"rlossctl/{name}" for name in configs} <= found


def test_wheel_holds_nothing_else(wheel: Path) -> None:
    rooms = {name.split("/")[0] for name in names(wheel)}
    assert {room for room in rooms if not room.endswith(".dist-info")} == {"rlossctl"}

    configs = {Path(name).suffix for name in names(wheel) if name.startswith("rlossctl/configs/")}
    assert configs == {".prototxt"}

    strays = {".proto", ".cpp", ".caffemodel", ".npz", ".npy", ".png", ".jpg", ".pyc"}
    assert not {name for name in names(wheel) if Path(name).suffix in strays}
    assert not {name for name in names(wheel) if {"tests", "golden", "shared"} & set(Path(name).parts)}


def test_wheel_imports_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    program = """
import rlossctl, rlossctl.cli, rlossctl._native
from rlossctl.prototxt import schema

assert schema.descriptor("NetParameter").full_name == "rlossctl.NetParameter"
assert "torch" not in sys.modules
print(rlossctl.__file__, rlossctl._native.__file__, sep="\\n")
"""
    for file in run(wheel, tmp_path, program).split():
        assert Path(file).is_relative_to(wheel)


def test_wheel_runs_as_a_module_without_torch(wheel: Path, tmp_path: Path) -> None:
    program = """
import atexit, runpy
atexit.register(lambda: print("torch loaded:", "torch" in sys.modules))
runpy.run_module("rlossctl", run_name="__main__")
"""
    printed = run(wheel, tmp_path, program, "--help")
    assert "Usage:" in printed
    assert "torch loaded: False" in printed


def test_wheel_finds_its_configs(wheel: Path, tmp_path: Path) -> None:
    program = """
from rlossctl.resources import configs_dir
print(configs_dir())
"""
    folder = Path(run(wheel, tmp_path, program).strip())
    assert folder == wheel / "rlossctl/configs"
    assert (folder / "demo/solver.prototxt").is_file()


def test_wheel_without_a_compiler(repository: Path, tmp_path: Path) -> None:
    unpacked, log = build(repository, tmp_path, CXX="/nonexistent/c++")
    assert "rlossctl/prototxt/schema.desc" in names(unpacked)
    assert not [name for name in names(unpacked) if name.startswith("rlossctl/_native")]
    assert log.count("the native kernel is not built") == 1
    assert "apt install g++" in log


def test_building_leaves_the_checkout_as_it_was(repository: Path, tmp_path: Path) -> None:
    def files() -> set[Path]:
        rooms = ["native", "proto", "rlossctl", "converters", "configs"]
        inside = {path for room in rooms for path in (repository / room).rglob("*")}
        return set(repository.iterdir()) | {path for path in inside if "__pycache__" not in path.parts}

    before = files()
    build(repository, tmp_path, CXX="/nonexistent/c++")
    assert files() == before
