"""`rlossctl test`, and the permission for Python layers on the command line."""

from __future__ import annotations

import json

NET = """layer { name: "d" type: "Python" top: "x" top: "t"
  python_param { module: "camera" layer: "Camera" } }
layer { name: "conv1" type: "Convolution" bottom: "x" top: "score" convolution_param { num_output: 4
  kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "SegAccuracy" bottom: "score" bottom: "t" top: "accuracy"
  seg_accuracy_param { ignore_label: 255 reset: false } }
"""
CAMERA = """import caffe


class Camera(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(1, 3, 4, 4)
        top[1].reshape(1, 1, 4, 4)

    def forward(self, bottom, top):
        top[0].data[...] = 1
        top[1].data[...] = 255
        top[1].data[0, 0, 1, 2] = 3
"""


def test_batches_of_a_users_python_layer(invoke, folder):
    (folder / "net.prototxt").write_text(NET)
    (folder / "camera.py").write_text(CAMERA)
    words = ("test", "net.prototxt", "w.caffemodel", "--iterations", "2")
    code, _, said = invoke(*words)
    assert code == 1 and "--allow-python-layers" in said

    code, out, said = invoke(*words, "--allow-python-layers", "--json", "result.json")
    assert code == 0, said
    lines = [line.partition("] ")[2] for line in out.splitlines()]
    assert lines[0] == "Running for 2 iterations."
    assert [line.split(" = ")[0] for line in lines[1:7]] == ["Batch 0, accuracy"] * 3 + [
        "Batch 1, accuracy"
    ] * 3
    assert lines[7] == "Loss: 0"
    assert lines[-1].startswith("accuracy counts on from batch to batch; all batches together give ")
    result = json.loads((folder / "result.json").read_text())
    assert len(result["last"]["accuracy"]) == 3 and result["loss"] == 0


def test_a_net_without_data_cannot_be_tested(invoke):
    code, _, said = invoke("test", "net.prototxt", "w.caffemodel", "--set", "LABELS=3")
    assert code == 1 and "needs the input 'data'" in said
