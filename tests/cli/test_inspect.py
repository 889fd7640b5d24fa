"""`rlossctl inspect` on a net, a solver and a caffemodel, as text and as JSON."""

from __future__ import annotations

import json

import pytest


def test_net(invoke):
    code, out, err = invoke("inspect", "net.prototxt", "--set", "LABELS=3")
    assert (code, err) == (0, "")
    lines = out.split("\n")
    assert lines[0] == "net 'tiny', phase TEST, 3 layers"
    (conv,) = [line for line in lines if line.startswith("conv1")]
    assert conv.split() == ["conv1", "Convolution", "1x4x20x24", "112", "0.1", "3"]
    assert any(line.split() == ["parameters", "127", "(508", "B)"] for line in lines)


def test_net_json(invoke):
    code, out, _ = invoke("inspect", "net.prototxt", "--set", "LABELS=3", "--json")
    content = json.loads(out)
    assert code == 0 and content["kind"] == "net" and content["outputs"] == ["score"]
    assert content["parameters"] == 4 * 27 + 4 + 3 * 4 + 3
    assert content["multiply_adds"] == 20 * 24 * (4 * 27 + 3 * 4)
    assert [layer["shapes"] for layer in content["layers"]] == [[[1, 4, 20, 24]]] * 2 + [[[1, 3, 20, 24]]]


def test_placeholders_come_from_the_environment_too(invoke, monkeypatch):
    monkeypatch.setenv("LABELS", "7")
    assert "1x7x20x24" in invoke("inspect", "net.prototxt")[1]


def test_solver(invoke):
    code, out, err = invoke("inspect", "solver.prototxt")
    assert (code, err) == (0, "")
    assert out.startswith("solver, type SGD, policy step, 100 iterations")
    assert "base_lr" in out and any(line.split() == ["50", "0.001"] for line in out.split("\n"))


def test_solver_json(invoke):
    content = json.loads(invoke("inspect", "solver.prototxt", "--json")[1])
    assert content["kind"] == "solver" and content["fields"]["stepsize"] == 50
    assert dict(map(tuple, content["schedule"]))[0] == pytest.approx(0.01)
    assert dict(map(tuple, content["schedule"]))[99] == pytest.approx(0.001)


def test_caffemodel(invoke):
    code, out, err = invoke("inspect", "w.caffemodel")
    assert (code, err) == (0, "")
    assert out.startswith("caffemodel of net 'tiny': 3 layers, 2 with blobs")
    assert any(line.split() == ["conv1", "Convolution", "4x3x3x3", "4"] for line in out.split("\n"))


def test_caffemodel_json(invoke):
    content = json.loads(invoke("inspect", "w.caffemodel", "--json")[1])
    assert content["kind"] == "caffemodel" and content["values"] == 127
    assert content["layers"][2] == {"name": "score", "type": "Convolution", "blobs": [[3, 4, 1, 1], [3]]}


def test_a_phase_may_be_chosen(invoke, folder):
    text = (folder / "net.prototxt").read_text()
    (folder / "net.prototxt").write_text(
        text.replace('name: "relu1"', 'name: "relu1" include { phase: TRAIN }')
    )
    layers = {
        phase: [
            layer["name"]
            for layer in json.loads(
                invoke("inspect", "net.prototxt", "--set", "LABELS=3", "--phase", phase, "--json")[1]
            )["layers"]
        ]
        for phase in ("TRAIN", "test")
    }
    assert layers == {"TRAIN": ["conv1", "relu1", "score"], "test": ["conv1", "score"]}


def test_image_shape_stands_for_missing_data(invoke, tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "d" type: "DenseImageData" top: "data" top: "label"\n'
        '  dense_image_data_param { source: "/nowhere.txt" batch_size: 2 } }\n'
        'layer { name: "p" type: "Pooling" bottom: "data" top: "p"\n'
        "  pooling_param { kernel_size: 2 stride: 2 } }\n"
    )
    code, _, err = invoke("inspect", str(path))
    assert code == 1 and "--image-shape C,H,W" in err
    code, out, _ = invoke("inspect", str(path), "--image-shape", "3,40,60")
    assert code == 0 and "2x3x20x30" in out
    assert invoke("inspect", str(path), "--image-shape", "40,60")[0] == 2


@pytest.mark.parametrize("name", ["segnet_basic_train", "segnet_inference", "bayesian_segnet_train"])
def test_original_segnet_nets_without_their_data(shared, invoke, name):
    path = shared / f"prototxt/segnet/{name}.prototxt"
    code, out, _ = invoke("inspect", str(path), "--image-shape", "3,360,480")
    assert code == 0 and "dialect segnet" in out


def test_class_weights_that_do_not_count(invoke, tmp_path):
    net = 'input: "x" input_shape { dim: 2 dim: 3 } input: "t" input_shape { dim: 2 }\n'
    net += 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "t" top: "loss"\n'
    net += "  loss_param { class_weighting: 1 class_weighting: 2 class_weighting: 3 %s } }\n"
    path = tmp_path / "weights.prototxt"
    path.write_text(net % "")
    note = f"{path}:2: layer 'l' (SoftmaxWithLoss): class_weighting does not count without"
    assert note in invoke("inspect", str(path))[1]
    assert json.loads(invoke("inspect", str(path), "--json")[1])["notes"][0].startswith(note)
    path.write_text(net % "weight_by_label_freqs: true")
    assert "class_weighting" not in invoke("inspect", str(path))[1]
