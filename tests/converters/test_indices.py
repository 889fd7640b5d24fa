"""Pooling masks and Upsample in ONNX files: exact places in half precision, and ties that fall elsewhere."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import rlossctl
from rlossctl.converters import OnnxOptions
from rlossctl.converters.onnx.attach import Ends
from rlossctl.converters.onnx.finished_file import FinishedFile
from rlossctl.converters.opening import torch_model
from rlossctl.converters.verifying.trials import Trial
from rlossctl.errors import NetError
from rlossctl.net.saved import layer_records
from rlossctl.weights import write_caffemodel

pytestmark = pytest.mark.slow  # torch exports each net

ROWS, COLUMNS = 72, 1000  # places up to 71999: above what half precision counts to, and above what it holds
NET = f"""
input: "data" input_shape {{ dim: 1 dim: 3 dim: {ROWS} dim: {COLUMNS} }}
layer {{ name: "pool" type: "Pooling" bottom: "data" top: "pool" top: "mask"
  pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}
layer {{ name: "up" type: "Upsample" bottom: "pool" bottom: "mask" top: "up" upsample_param {{ scale: 2 }} }}
"""


@pytest.fixture
def files(tmp_path):
    """The prototxt and a caffemodel without blobs."""
    prototxt, weights = tmp_path / "n.prototxt", tmp_path / "w.caffemodel"
    prototxt.write_text(NET)
    write_caffemodel(weights, "", layer_records(rlossctl.load_net(prototxt)))
    return prototxt, weights


def image() -> np.ndarray:
    """A different whole number in each place of a window: half precision keeps which one is the largest."""
    generator = np.random.default_rng(0)
    return generator.permuted(np.arange(3 * ROWS * COLUMNS) % 2000, axis=0).reshape(1, 3, ROWS, COLUMNS) + 1.0


def test_places_are_exact_in_half_precision(files, tmp_path):
    outs = []
    for precision in ("fp32", "fp16"):
        out = tmp_path / f"{precision}.onnx"
        rlossctl.convert(*files, out, onnx_options=OnnxOptions(precision=precision))
        onnx.checker.check_model(onnx.load(out), full_check=True)
        session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
        outs.append(session.run(None, {"data": image().astype(np.float32)})[0])
    kinds = {value.type.tensor_type.elem_type for value in onnx.load(out).graph.value_info}
    assert onnx.TensorProto.FLOAT16 in kinds
    np.testing.assert_array_equal(*outs)
    assert (outs[0] > 0).sum() == 3 * ROWS * COLUMNS / 4


def test_a_mask_as_output_is_refused_in_half_precision(files, tmp_path):
    with pytest.raises(NetError, match="cannot be an output in half precision") as refused:
        rlossctl.convert(
            *files, tmp_path / "m.onnx", outputs=["mask"], onnx_options=OnnxOptions(precision="fp16")
        )
    assert "--precision int8 or fp32" in str(refused.value)


@pytest.mark.parametrize(("noise", "same"), [(1e-6, True), (0.01, False)])
def test_a_finished_file_may_break_ties_another_way(files, tmp_path, noise, same):
    """Two values of each window are as good as equal; the file adds something to the second one."""
    out = tmp_path / "m.onnx"
    rlossctl.convert(*files, out)
    model = onnx.load(out)
    added = np.zeros((1, 1, ROWS, COLUMNS), np.float32)
    added[..., 1::2, 1::2] = noise
    for node in model.graph.node:
        node.input[:] = ["shaken" if name == "data" else name for name in node.input]
    model.graph.initializer.append(numpy_helper.from_array(added, "added"))
    model.graph.node.insert(0, helper.make_node("Add", ["data", "added"], ["shaken"]))
    onnx.save(model, out)

    net = torch_model(rlossctl.load_net(*files))
    trial = Trial("ties", np.ones((1, 3, ROWS, COLUMNS), np.float32))
    found = {entry.blob: entry for entry in FinishedFile(out, net, Ends()).compare_trials([trial])}
    assert list(found) == ["mask", "up"]
    assert found["mask"].disagreement == 1.0, "every window's maximum is somewhere else"
    assert (found["up"].error <= 1e-4) == same
