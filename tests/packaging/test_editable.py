"""An editable install sees the checkout as it is now: what is new, moved or gone, without a new install."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.packaging.conftest import Wheel

pytestmark = pytest.mark.slow


def test_modules_are_those_of_the_checkout(editable: Wheel, checkout: Path, tmp_path: Path) -> None:
    program = """
import rlossctl, rlossctl.layers.elementwise as layers, rlossctl.converters.formats.hdf5 as converters
from rlossctl.resources import configs_dir
print(rlossctl.__file__, layers.__file__, converters.__file__, configs_dir(), sep="\\n")
"""
    for printed in editable.run(tmp_path, program).split():
        assert Path(printed).resolve().is_relative_to(checkout)


def test_new_modules_are_found(editable: Wheel, checkout: Path, tmp_path: Path) -> None:
    for room in ("rlossctl", "rlossctl/layers", "rlossctl/prototxt", "converters", "converters/onnx"):
        (checkout / room / "of_mine.py").write_text("")
    (checkout / "converters/room/of").mkdir(parents=True)
    (checkout / "converters/room/of/mine.py").write_text("")
    program = """
import rlossctl.of_mine, rlossctl.layers.of_mine, rlossctl.prototxt.of_mine
import rlossctl.converters.of_mine, rlossctl.converters.onnx.of_mine, rlossctl.converters.room.of.mine
"""
    editable.run(tmp_path, program)


def test_moved_modules_are_found_where_they_are(editable: Wheel, checkout: Path, tmp_path: Path) -> None:
    (checkout / "rlossctl/trust").mkdir()
    (checkout / "rlossctl/trust.py").rename(checkout / "rlossctl/trust/__init__.py")
    (checkout / "rlossctl/prototxt/wire.py").rename(checkout / "rlossctl/wire.py")
    program = """
import importlib.util
import rlossctl.trust, rlossctl.wire
print(rlossctl.trust.__file__, importlib.util.find_spec("rlossctl.prototxt.wire"))
"""
    assert editable.run(tmp_path, program).split() == [str(checkout / "rlossctl/trust/__init__.py"), "None"]


def test_the_schema_is_that_of_the_checkout(editable: Wheel, checkout: Path, tmp_path: Path) -> None:
    program = """
from rlossctl.prototxt import schema
print("of_mine" in schema.descriptor("LayerParameter").fields_by_name)
"""
    assert editable.run(tmp_path, program).strip() == "False"
    assert not (checkout / "rlossctl/prototxt/schema.desc").exists()  # the build's own was good

    proto = checkout / "proto/rlossctl.proto"
    head = "message LayerParameter {\n"
    proto.write_text(proto.read_text().replace(head, f"{head}  optional float of_mine = 29999;\n"))
    assert editable.run(tmp_path, program).strip() == "True"
