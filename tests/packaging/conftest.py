"""Wheels and sdists as pip and build make them, and running what is in them away from the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Set
from pathlib import Path

import pytest

ROOMS = ("rlossctl", "native", "proto", "converters", "configs")
WITHOUT_COMPILER = {"CXX": "/nonexistent/c++"}
# What is in it counts here, not how fast it is: optimising takes most of a minute, nvcc where it is several.
UNOPTIMISED = {"SKBUILD_CMAKE_BUILD_TYPE": "None", "SKBUILD_CMAKE_DEFINE": "RLOSSCTL_CUDA=OFF"}

# Python runs this with -I and -S: no .pth file is read, so neither an editable install of the checkout nor
# PYTHONPATH can lend a module to what is tested; site-packages goes behind it for the dependencies alone.
BOOT = """
import os, site, sys
tested, *site_packages = sys.argv.pop(1).split(os.pathsep)
sys.path[:0] = [tested]
site.addsitedir(tested)  # its own .pth file, which an editable install has
sys.path += site_packages
sys.argv[0] = "rlossctl"
"""


class Wheel:
    """An unpacked wheel.

    Attributes:
        folder: what site-packages would get.
        names: the archive's entries.
        log: what building it printed.
        left: files of the checkout that came or went with the building.
    """

    def __init__(self, archive: Path, log: str = "", left: Set[Path] = frozenset()) -> None:
        self.log, self.left = log, left
        self.folder = archive.parent / "unpacked"
        with zipfile.ZipFile(archive) as file:
            self.names = [name for name in file.namelist() if not name.endswith("/")]
            file.extractall(self.folder)

    def run(self, cwd: Path, program: str, *arguments: str) -> str:
        """What `program` prints when nothing but this wheel can be imported as rlossctl."""
        site_packages = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
        path = os.pathsep.join([str(self.folder), *site_packages])
        return run([sys.executable, "-I", "-S", "-W", "error", "-c", BOOT + program, path, *arguments], cwd)


class Sdist:
    """An unpacked sdist: its top folder, and the archive's entries below it."""

    def __init__(self, archive: Path) -> None:
        with tarfile.open(archive) as file:
            self.names = [name.partition("/")[2] for name in file.getnames()]
            file.extractall(archive.parent, filter="data")  # refuses links that lead out of it
        self.folder = archive.parent / archive.name.removesuffix(".tar.gz")


def run(command: list[str], cwd: Path, **environment: str) -> str:
    """What `command` prints; it must end well."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def pip_wheel(checkout: Path, folder: Path, **environment: str) -> Wheel:
    command = [sys.executable, "-m", "pip", "wheel", ".", "--verbose", "--no-deps", "--no-build-isolation"]
    before = files(checkout)
    log = run([*command, "--wheel-dir", str(folder)], checkout, **environment)
    (archive,) = folder.glob("rlossctl-*.whl")
    return Wheel(archive, log, before ^ files(checkout))


def files(checkout: Path) -> set[Path]:
    """What a build could add to: the top folder, and everything in the rooms that are built."""
    inside = {path for room in ROOMS for path in (checkout / room).rglob("*")}
    return set(checkout.iterdir()) | {path for path in inside if "__pycache__" not in path.parts}


def backend(checkout: Path, hook: str, folder: Path) -> Path:
    """Has the build backend make something in `folder`; returns its path."""
    call = f"import sys; from scikit_build_core.build import {hook}; print({hook}(sys.argv[1]))"
    printed = run([sys.executable, "-c", call, str(folder)], checkout, **WITHOUT_COMPILER)
    return folder / printed.splitlines()[-1]


@pytest.fixture(scope="session")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """The wheel with the native kernel."""
    return pip_wheel(repository, tmp_path_factory.mktemp("wheel"), **UNOPTIMISED)


@pytest.fixture(scope="session")
def plain_wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """The wheel of a machine without a compiler."""
    return pip_wheel(repository, tmp_path_factory.mktemp("plain_wheel"), **WITHOUT_COMPILER)


@pytest.fixture(scope="session")
def sdist(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Sdist:
    """The sdist of the checkout."""
    return Sdist(backend(repository, "build_sdist", tmp_path_factory.mktemp("sdist")))


@pytest.fixture(scope="session")
def wheel_of_sdist(sdist: Sdist, tmp_path_factory: pytest.TempPathFactory) -> Wheel:
    """The wheel that the unpacked sdist gives, without a compiler."""
    return pip_wheel(sdist.folder, tmp_path_factory.mktemp("wheel_of_sdist"), **WITHOUT_COMPILER)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the copy of the checkout is: an editable install writes its path down."""
    return tmp_path_factory.mktemp("editable") / "checkout"


@pytest.fixture
def checkout(repository: Path, place: Path) -> Path:
    """A new copy of what the package is made from, to be changed."""
    return copied(repository, place)


@pytest.fixture(scope="module")
def editable(repository: Path, place: Path) -> Wheel:
    """What an editable install of `checkout` puts into site-packages."""
    return Wheel(backend(copied(repository, place), "build_editable", place.parent))


def copied(repository: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    unwanted = shutil.ignore_patterns("__pycache__", "*.so", "schema.desc")
    for room in ROOMS:
        shutil.copytree(repository / room, place / room, symlinks=True, ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, place)
    return place
