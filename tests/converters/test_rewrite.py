"""`rlossctl convert OLD -o NEW`: one file in, the same in today's form out."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

import rlossctl
from rlossctl.cli import cli
from rlossctl.errors import UsageError
from rlossctl.prototxt import load_solver_parameter
from rlossctl.prototxt.messages import NetParameter
from rlossctl.prototxt.text import parse


def test_old_text_and_old_weights_give_what_caffe_gave(golden, tmp_path):
    folder = golden / "legacy"
    for name in ("v0_small.in.prototxt", "v0_small.in.caffemodel"):
        out = tmp_path / "new.prototxt"
        assert CliRunner().invoke(cli, ["convert", str(folder / name), "-o", str(out)]).exit_code == 0
        expected = parse((folder / "v0_small.out.prototxt").read_text(), NetParameter, name)
        assert parse(out.read_text(), NetParameter, name) == expected
    result = rlossctl.convert(folder / "v1_small.in.caffemodel", None, tmp_path / "new.caffemodel")
    assert (tmp_path / "new.caffemodel").read_bytes() == (folder / "v1_small.out.caffemodel").read_bytes()
    assert "upgraded from Caffe's V1 form" in "\n".join(result.lines()) and result.dialect == "bvlc"


def test_a_dialect_without_input_layers_keeps_input(golden, tmp_path):
    out = tmp_path / "new.prototxt"
    rlossctl.convert(golden / "legacy" / "v2_input_shape.in.prototxt", None, out, dialect="rloss")
    assert list(parse(out.read_text(), NetParameter, "f").input) == ["a", "b"]


def test_a_solver_with_an_inline_net(tmp_path):
    old, new = tmp_path / "old.prototxt", tmp_path / "new.prototxt"
    old.write_text('solver_type: ADAM net_param { layers { name: "r" type: RELU } }')
    result = rlossctl.convert(old, None, new)
    param = load_solver_parameter(new)
    assert param.type == "Adam" and param.net_param.layer[0].type == "ReLU" and result.notes


def test_another_format_needs_weights(golden, tmp_path):
    with pytest.raises(UsageError, match="weights are missing"):
        rlossctl.convert(golden / "legacy" / "v0_small.in.prototxt", None, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
