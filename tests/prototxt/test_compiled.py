"""A checkout compiles its schema again when the text has changed; an installation never does."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from rlossctl.errors import RlossError
from rlossctl.prototxt import compiled

FIELD = "optional float of_mine = 29999;"


@pytest.fixture
def proto(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The text of a checkout that has no compiled schema beside it."""
    if not (repository / "proto").is_dir():
        pytest.skip("needs a checkout")
    shutil.copytree(repository / "proto", tmp_path / "proto")
    monkeypatch.setattr(compiled, "PROTO", tmp_path / "proto" / "rlossctl.proto")
    monkeypatch.setattr(compiled, "HERE", tmp_path)
    return compiled.PROTO


def add_field(proto: Path, field: str = FIELD) -> None:
    text = proto.read_text()
    head = "message LayerParameter {\n"
    assert head in text
    proto.write_text(text.replace(head, f"{head}  {field}\n"))


def fields() -> set[str]:
    (file,) = FileDescriptorSet.FromString(compiled.descriptor_set()).file
    (layer,) = (message for message in file.message_type if message.name == "LayerParameter")
    return {field.name for field in layer.field}


def test_a_new_field_is_there_at_the_next_run(proto: Path) -> None:
    pytest.importorskip("grpc_tools")
    assert "of_mine" not in fields()
    add_field(proto)
    assert "of_mine" in fields()


def test_it_is_compiled_once(proto: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("grpc_tools")
    add_field(proto)
    once = fields()
    monkeypatch.setattr(compiled.subprocess, "run", None)  # calling it would raise
    assert fields() == once
    assert [path.name for path in proto.parents[1].iterdir() if path.is_file()] == ["schema.desc"]


def test_without_the_compiler_the_error_is_about_the_schema(
    proto: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    add_field(proto)
    with pytest.raises(RlossError, match="older than this text") as caught:
        compiled.descriptor_set()
    assert caught.value.where == str(proto)
    assert "pip install grpcio-tools" in caught.value.advice


def test_a_text_that_does_not_compile_is_named_with_its_line(proto: Path) -> None:
    pytest.importorskip("grpc_tools")
    add_field(proto, "optional flaot of_mine = 29999;")
    with pytest.raises(RlossError, match="does not compile") as caught:
        compiled.descriptor_set()
    assert "flaot" in caught.value.found and "rlossctl.proto:" in caught.value.found
    assert not (compiled.HERE / "schema.desc").exists()


def test_an_installation_reads_what_the_build_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = resources.files("rlossctl.prototxt").joinpath("schema.desc").read_bytes()
    monkeypatch.setattr(compiled, "PROTO", tmp_path / "rlossctl.proto")
    monkeypatch.setattr(compiled.hashlib, "sha256", None)  # nothing to compare with: calling it would raise
    assert compiled.descriptor_set() == made


def test_an_installation_without_schema_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiled, "PROTO", tmp_path / "rlossctl.proto")
    monkeypatch.setattr(compiled.resources, "files", lambda package: tmp_path)
    with pytest.raises(RlossError, match="missing from the installation"):
        compiled.descriptor_set()
