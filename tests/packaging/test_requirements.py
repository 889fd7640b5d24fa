"""The lists of packages agree: pyproject.toml, constraints.txt and the Makefile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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
