"""What is said in several places agrees: packages, versions, Pythons and make targets."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import rlossctl

tomllib = pytest.importorskip("tomllib", reason="tomllib came with Python 3.11")


def package(requirement: str) -> str:
    """The normalised name in front of a requirement's version, extras and markers."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


@pytest.fixture(scope="module")
def pyproject(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text())


def test_everything_that_pyproject_names_is_pinned(repository: Path, pyproject: dict) -> None:
    lines = (repository / "constraints.txt").read_text().splitlines()
    pinned = {package(line) for line in lines if re.match(r"[\w.-]+==", line)}

    named = [*pyproject["build-system"]["requires"], *pyproject["project"]["dependencies"]]
    for extra in pyproject["project"]["optional-dependencies"].values():
        named += extra
    assert {package(requirement) for requirement in named} - {"rlossctl"} <= pinned


def test_the_makefile_installs_the_build_requirements(repository: Path, pyproject: dict) -> None:
    tools = re.search(r"^BUILD_TOOLS := (.+)$", (repository / "Makefile").read_text(), re.MULTILINE)[
        1
    ].split()
    required = {package(requirement) for requirement in pyproject["build-system"]["requires"]}
    assert required <= set(tools)
    developer = {package(requirement) for requirement in pyproject["project"]["optional-dependencies"]["dev"]}
    assert set(tools) <= developer


def test_the_version_is_said_once(repository: Path, pyproject: dict, invoke: Callable) -> None:
    assert "version" not in pyproject["project"] and pyproject["project"]["dynamic"] == ["version"]
    assert "\nversion:" not in (repository / "CITATION.cff").read_text()
    (source,) = [entry for entry in pyproject["tool"]["dynamic-metadata"] if entry["field"] == "version"]
    assert f'__version__ = "{rlossctl.__version__}"\n' in (repository / source["input"]).read_text()
    assert invoke("--version")[1].split()[-1] == rlossctl.__version__
    assert (repository / "CHANGELOG.md").read_text().startswith(f"# Changelog\n\n## {rlossctl.__version__} (")


def test_metadata_of_an_installation_has_the_version() -> None:
    try:
        installed = importlib.metadata.version("rlossctl")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("rlossctl is not installed, only imported from the checkout")
    assert installed == rlossctl.__version__


def test_hashes_are_of_the_versions_that_are_pinned(repository: Path, pyproject: dict) -> None:
    pin = re.compile(r"^([\w.-]+)==([^\s;\\]+)(.*(?:\n    .*)*)", re.MULTILINE)
    pinned = {(package(name), found) for name, found, _ in pin.findall(read(repository, "constraints.txt"))}
    hashed = pin.findall(read(repository, "requirements/hashes.txt"))
    assert hashed and all("--hash=sha256:" in rest for _, _, rest in hashed)
    found = {(package(name), version) for name, version, _ in hashed}
    constrained = {name for name, _ in pinned}
    assert {(name, version) for name, version in found if name in constrained} <= pinned
    needed = {package(requirement) for requirement in pyproject["project"]["dependencies"]}
    assert needed <= {name for name, _ in found}


def test_the_container_gets_what_it_copies(repository: Path) -> None:
    """.dockerignore begins with everything, so that no file of the user's travels unasked."""
    first, *rest = read(repository, ".dockerignore").splitlines()
    assert first == "*"
    let_in = {line[1:] for line in rest if line.startswith("!")}
    assert let_in >= {"rlossctl", "converters", "configs", "native", "proto", "pyproject.toml", "README.md"}
    assert all((repository / name).exists() for name in let_in)
    copied = re.search(r"^COPY (\S+) (\S+) /requirements/$", read(repository, "Dockerfile"), re.MULTILINE)
    assert all(name.split("/")[0] in let_in and (repository / name).is_file() for name in copied.groups())


def read(repository: Path, name: str) -> str:
    return (repository / name).read_text()


def test_hooks_and_hosted_checks_call_targets_of_the_makefile(repository: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    call = re.compile(r"(?:run|entry): make(?: --\S+)* (\S+)$", re.MULTILINE)
    for place in (".pre-commit-config.yaml", ".github/workflows/check.yml", ".github/workflows/release.yml"):
        called = call.findall((repository / place).read_text())
        assert called and set(called) <= targets, place


def test_hosted_checks_cover_the_pythons_that_are_supported(repository: Path, pyproject: dict) -> None:
    workflow = (repository / ".github/workflows/check.yml").read_text()
    pythons = re.search(r"python: \[(.+)\]", workflow)[1].replace('"', "").split(", ")
    assert pyproject["project"]["requires-python"] == f">={pythons[0]}"
    assert pythons == ["3.10", "3.11", "3.12", "3.13"]
    wheels = pyproject["tool"]["cibuildwheel"]["build"]
    assert wheels == [f"cp{python.replace('.', '')}-*" for python in pythons]
