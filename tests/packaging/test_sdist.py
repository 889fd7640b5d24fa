"""The sdist: everything once, and the wheel made from it is the wheel of the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.packaging.conftest import Sdist, Wheel

pytestmark = pytest.mark.slow


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
