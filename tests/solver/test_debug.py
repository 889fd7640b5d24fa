"""debug_info: Caffe's lines, with values computed by hand."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from rlossctl.solver import Log, load_solver

NET = """name: "seen"
input: "x" input_shape { dim: 1 dim: 2 } input: "t" input_shape { dim: 1 dim: 1 }
layer { name: "act" type: "ReLU" bottom: "x" top: "a" }
layer { name: "one" type: "InnerProduct" bottom: "a" top: "one" param { name: "w" } param { lr_mult: 0 }
  inner_product_param { num_output: 1 weight_filler { value: 2 } bias_filler { value: 1 } } }
layer { name: "neg" type: "Power" bottom: "one" top: "one" power_param { scale: -1 } }
layer { name: "two" type: "InnerProduct" bottom: "a" top: "two" param { name: "w" }
  inner_product_param { num_output: 1 bias_term: false } }
layer { name: "loss" type: "EuclideanLoss" bottom: "one" bottom: "t" top: "loss" }
layer { name: "rest" type: "EuclideanLoss" bottom: "two" bottom: "t" top: "rest" loss_weight: 0.5 }
"""
# x = (3, -4) -> a = (3, 0); one = -(2 * 3 + 1) = -7; two = 6; t = 1
# d one = -7 - 1 = -8, behind Power 8; d two = 0.5 * (6 - 1) = 2.5; d w = (3, 0) * (8 + 2.5)
LINES = """\
    [Forward] Layer act, top blob a data: 1.5
    [Forward] Layer one, top blob one data: 7
    [Forward] Layer one, param blob w data: 2
    [Forward] Layer one, param blob 1 data: 1
    [Forward] Layer neg, top blob one data: 7
    [Forward] Layer two, top blob two data: 6
    [Forward] Layer two, param blob w data: 2
    [Forward] Layer loss, top blob loss data: 32
    [Forward] Layer rest, top blob rest data: 12.5
    [Backward] Layer rest, bottom blob two diff: 2.5
    [Backward] Layer loss, bottom blob one diff: 8
    [Backward] Layer two, param blob 0 diff: 15.75
    [Backward] Layer neg, bottom blob one diff: 8
    [Backward] Layer one, param blob 0 diff: 15.75
    [Backward] All net params (data, diff): L1 norm = (5, 31.5); L2 norm = (3, 31.5)"""


def lines_of(folder: Path, more: str, iterations: int) -> list[str]:
    (folder / "net.prototxt").write_text(NET)
    text = f'net: "net.prototxt" base_lr: 0 lr_policy: "fixed" max_iter: 9 display: 2 debug_info: true {more}'
    (folder / "solver.prototxt").write_text(text)
    lines: list[str] = []
    solver = load_solver(folder / "solver.prototxt", device="cpu", log=Log([lines.append]))
    solver.step(iterations, {"x": torch.tensor([[3.0, -4.0]]), "t": torch.ones(1, 1)})
    return [line for line in lines if "ward] " in line]


def test_every_blob_and_gradient(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, "", 2)  # the second iteration is not displayed
    assert "\n".join(re.sub(r"^\S+ \S+ +\d+ \S+\] ", "", line) for line in lines) == LINES
    assert [line[0] for line in lines] == ["I"] * 14 + ["E"]  # Caffe logs the last one as an error


def test_every_pass_of_an_iteration(tmp_path: Path) -> None:
    """Parameter gradients add up over iter_size passes; a blob's is that of its pass."""
    lines = lines_of(tmp_path, "iter_size: 2", 1)
    assert len(lines) == 30
    assert [line.rpartition(" ")[2] for line in lines if "one, param blob 0 diff" in line] == [
        "15.75",
        "31.5",
    ]
    assert [line.rpartition(" ")[2] for line in lines if "neg, bottom blob" in line] == ["8", "8"]
