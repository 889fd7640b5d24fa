"""`rlossctl bench models`: what it prints and draws; never how fast anything is."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper

from rlossctl.bench.models import Load, Measured, picture, table
from rlossctl.cli import cli
from rlossctl.errors import NetError

NET = """name: "n" input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 9 }
layer { name: "c" type: "Convolution" bottom: "x" top: "c"
  convolution_param { num_output: ${N} kernel_size: 3 } }
"""


@pytest.fixture
def files(tmp_path):
    """A prototxt of any size, and an ONNX file with a size of its own."""
    (tmp_path / "n.prototxt").write_text(NET)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 3, 5, 6]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10),
        tmp_path / "n.onnx",
    )
    return str(tmp_path / "n.onnx"), str(tmp_path / "n.prototxt")


@pytest.mark.slow
def test_models_beside_each_other(files, tmp_path):
    drawing = tmp_path / "bars.svg"
    load = ["--set", "N=2", "--size", "12,10", "--batch", "3", "--repeats", "2", "--json"]
    arguments = ["bench", "models", *files, *load, "--draw", str(drawing)]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [(one["load"]["size"], one["load"]["batch"]) for one in found] == [([5, 6], 3), ([12, 10], 3)]
    assert all(len(one["milliseconds"]) == 2 and min(one["milliseconds"]) > 0 for one in found)
    assert len(ElementTree.parse(drawing).getroot().findall("{*}rect")) == 2


def test_what_cannot_run_is_an_error_that_says_why(tmp_path):
    result = CliRunner().invoke(cli, ["bench", "models", str(tmp_path / "none.onnx")])
    assert isinstance(result.exception, NetError) and "none.onnx" in str(result.exception)


def test_rows_and_bars():
    load = Load("a/n.onnx", {}, "cpu", (5, 6), 4, 2, 3)
    measured = [Measured(load, (10.0, 20.0, 12.0), 3_000_000), Measured(load, (6.0, 6.0, 6.0), 0)]
    _, name, head, *rows = table(measured)
    assert name == "a/n.onnx" and len(head) == len(rows[0])
    assert rows[0].split() == ["cpu", "5x6", "4", "2", "12.0", "83%", "333.3", "3"]
    bars = ElementTree.fromstring(picture(measured)).findall("{*}rect")
    assert [float(bar.get("width")) for bar in bars] == [140.0, 280.0]
