"""What is said in several places agrees: packages, versions, Pythons and make targets."""

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


def test_the_version_is_the_same_everywhere(repository: Path, pyproject: dict) -> None:
    version = pyproject["project"]["version"]
    assert f'__version__ = "{version}"\n' in (repository / "rlossctl" / "__init__.py").read_text()
    assert f"\nversion: {version}\n" in (repository / "CITATION.cff").read_text()
    assert (repository / "CHANGELOG.md").read_text().startswith(f"# Changelog\n\n## {version} (")


def test_hooks_and_hosted_checks_call_targets_of_the_makefile(repository: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    call = re.compile(r"(?:run|entry): make(?: --\S+)* (\S+)$", re.MULTILINE)
    for place in (".pre-commit-config.yaml", ".github/workflows/check.yml"):
        called = call.findall((repository / place).read_text())
        assert called and set(called) <= targets, place


def test_hosted_checks_cover_the_pythons_that_are_supported(repository: Path, pyproject: dict) -> None:
    workflow = (repository / ".github/workflows/check.yml").read_text()
    pythons = re.search(r"python: \[(.+)\]", workflow)[1].replace('"', "").split(", ")
    assert pyproject["project"]["requires-python"] == f">={pythons[0]}"
    assert pythons == ["3.10", "3.11", "3.12", "3.13"]
