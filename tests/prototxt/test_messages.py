"""Messages by name, and the stub that tells type checkers their fields."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from rlossctl.prototxt import messages, schema
from rlossctl.prototxt.messages import LayerParameter, Phase, SolverParameter

ROOT = Path(__file__).resolve().parents[2]


def test_the_stub_is_current():
    stub = runpy.run_path(str(ROOT / "proto" / "stub.py"))
    assert stub["STUB"].read_text(encoding="utf-8") == stub["text"](), "run `python proto/stub.py`"


def test_messages_are_those_of_the_schema():
    assert LayerParameter is schema.message_class("LayerParameter")
    assert LayerParameter(name="conv1").name == "conv1"


def test_enum_numbers_come_from_the_schema():
    assert SolverParameter(solver_mode="CPU").solver_mode == SolverParameter.CPU
    assert SolverParameter.SolverMode.Name(SolverParameter.GPU) == "GPU"
    assert Phase.Value("TEST") == Phase.TEST != Phase.TRAIN


def test_an_unknown_message_is_an_import_error():
    with pytest.raises(ImportError, match="NoSuchParameter"):
        from rlossctl.prototxt.messages import NoSuchParameter  # noqa: F401
    assert not hasattr(messages, "NoSuchParameter")
