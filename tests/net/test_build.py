"""Building: shapes before memory, net-level inputs, sharing with a training net, nets for inference."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import rlossctl
from rlossctl import configs
from rlossctl.errors import NetError, PrototxtError
from rlossctl.net.build import load_inference_net
from rlossctl.net.origin import NetOrigin

RELU = 'layer { name: "r" type: "ReLU" bottom: "x" top: "r" }\n'
CONV = (
    'layer {{ name: "c" type: "Convolution" bottom: "x" top: "c" '
    "convolution_param {{ num_output: {} kernel_size: 1 }} }}\n"
)
X = 'input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }\n'
QUICK = ("demo/", "camvid/", "deeplab_largeFOV/")
OURS = [
    pytest.param(name, marks=() if name.startswith(QUICK) else pytest.mark.slow)
    for name in configs.names()
    if not name.rpartition("/")[2].startswith("solver")
]


def test_a_meta_net_has_shapes_and_no_memory(build):
    # 12 TB of weights: building this anywhere else could not succeed.
    net = build(
        'input: "x" input_shape { dim: 1 dim: 1000000 dim: 8 dim: 8 }\n' + CONV.format(3000000), device="meta"
    )
    assert net.shapes["c"] == (1, 3000000, 8, 8)
    assert all(blob.is_meta for blob in net.parameters())


def test_wrong_shapes_are_found_before_any_weight_is_allocated(build):
    text = (
        'input: "x" input_shape { dim: 1 dim: 1000000 dim: 8 dim: 8 }\n'
        + CONV.format(3000000)
        + 'layer { name: "e" type: "Eltwise" bottom: "x" bottom: "c" top: "e" }\n'
    )
    with pytest.raises(NetError, match="the same shape"):
        build(text)


@pytest.mark.parametrize(
    "text",
    [
        'input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 } '
        'input: "y" input_shape { dim: 6 dim: 7 dim: 8 dim: 9 }',
        'input: "x" input: "y" input_dim: 2 input_dim: 3 input_dim: 4 input_dim: 5 '
        "input_dim: 6 input_dim: 7 input_dim: 8 input_dim: 9",
        'layer { name: "i" type: "Input" top: "x" top: "y" input_param { '
        "shape { dim: 2 dim: 3 dim: 4 dim: 5 } shape { dim: 6 dim: 7 dim: 8 dim: 9 } } }",
    ],
)
def test_three_ways_of_saying_inputs(build, text):
    net = build(text + "\n" + RELU)
    assert net.inputs == ["x", "y"]
    assert (net.shapes["x"], net.shapes["y"]) == ((2, 3, 4, 5), (6, 7, 8, 9))


@pytest.mark.parametrize(
    "text",
    [
        'input: "x"',
        'input: "x" input: "y" input_shape { dim: 1 }',
        'input: "x" input_dim: 1 input_dim: 2 input_dim: 3',
        'input: "x" input_shape { dim: 1 dim: -3 }',
    ],
)
def test_inputs_without_fitting_shapes(build, text):
    with pytest.raises(NetError, match="input and input_shape") as caught:
        build(text + "\n" + RELU)
    assert caught.value.where == "net.prototxt"


def test_the_batch_and_size_may_differ_from_the_prototxts(build):
    net = build(X + CONV.format(7))
    assert net(x=torch.zeros(5, 3, 2, 9))["c"].shape == (5, 7, 2, 9)


def test_share_uses_the_other_nets_tensors(build):
    train = build(X + CONV.format(4))
    test = build(X + CONV.format(4) + RELU, "TEST", share=train)
    assert test.params["c"][0] is train.params["c"][0]
    with torch.no_grad():
        train.params["c"][1].fill_(3)
    assert test(x=torch.zeros(1, 3, 4, 5))["c"].unique().tolist() == [3]


def test_share_refuses_other_shapes(build):
    with pytest.raises(NetError, match="cannot share its weights") as caught:
        build(X + CONV.format(5), "TEST", share=build(X + CONV.format(4)))
    assert "(4, 3, 1, 1)" in str(caught.value) and "(5, 3, 1, 1)" in str(caught.value)


def test_load_net_fills_placeholders_and_names_the_missing_ones(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(X + CONV.format("${OUTPUTS}").replace('"c"', '"c_${EXP}"'))
    net = rlossctl.load_net(path, OUTPUTS=6, EXP="a")
    assert net.phase == "TEST" and net.shapes["c_a"] == (2, 6, 4, 5)
    with pytest.raises(PrototxtError, match="placeholders are not set") as caught:
        rlossctl.load_net(path)
    assert "EXP (line 2" in caught.value.found and "OUTPUTS (line 2)" in caught.value.found


def test_pycaffes_vocabulary(small):
    net = rlossctl.load_net(small, phase="TRAIN")
    assert net.name == "small" and net.phase == "TRAIN" and net.dialect == "rloss"
    assert [tuple(blob.shape) for blob in net.params["fc8"]] == [(5, 6, 3, 3), (5,)]
    assert net.outputs == ["accuracy"] and net.shapes["score"] == (2, 5, 33, 33)
    label = torch.zeros(2, 1, 33, 33)
    blobs = net.forward_blobs(data=torch.zeros(2, 3, 33, 33), label=label)
    assert blobs["fc8"].shape == (2, 5, 17, 17) and blobs["accuracy"].shape == (1, 1, 1, 3)
    assert net.layer("conv1").type == "Convolution"
    with pytest.raises(NetError, match="has no layer 'conv9'"):
        net.layer("conv9")


def test_a_missing_label_is_named(small):
    net = rlossctl.load_net(small, phase="TRAIN")
    with pytest.raises(NetError, match="its bottom 'label' was not given") as caught:
        net(data=torch.zeros(2, 3, 33, 33))
    assert "'shrink'" in str(caught.value)


def test_an_inference_net_of_a_train_only_prototxt_behaves_as_in_test(small):
    net = load_inference_net(NetOrigin(small))
    assert net.phase == "TEST" and net.layers[0].type == "ImageSegData"
    x = torch.randn(1, 3, 33, 33)
    first = net.run({"data": x}, until=["score"]).blobs["score"]
    assert torch.equal(first, net.run({"data": x}, until=["score"]).blobs["score"]), "Dropout is an identity"


def test_an_inference_net_prefers_the_test_phase(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(X + CONV.format(4) + RELU.replace("}\n", "include { phase: TEST } }\n"))
    assert load_inference_net(NetOrigin(path)).outputs == ["c", "r"]


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, object]:
    """Placeholders of the networks that come with rlossctl, with lists of one line."""
    root = tmp_path / "exp"
    for name in ("train", "val"):
        for folder in (root / "list", tmp_path):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.txt").write_text("/a.jpg /a.png\n")
    return {
        "EXP": root,
        "DATA_ROOT": tmp_path,
        "TRAIN_SET": "train",
        "TEST_SET": "val",
        "NET_ID": "net",
        "NUM_LABELS": 5,
        "NUM_LABELS_16": 80,
        "DENSECRF_LOSS_WEIGHT": "1e-9",
        "BI_XY_STD": 40,
        "BI_RGB_STD": 15,
        "TRAIN_LIST": tmp_path / "train.txt",
        "TEST_LIST": tmp_path / "val.txt",
    }


@pytest.mark.smallest("name")
@pytest.mark.parametrize("name", OURS)
def test_shapes_at_build_are_the_shapes_at_run(name, settings):
    """Both run on the meta device: the sizes are those of the experiments, the memory is not."""
    phase = "TEST" if name.endswith("/test") else "TRAIN"
    net = rlossctl.load_net(name, phase=phase, device="meta", **settings)
    fed = {
        name: torch.empty(net.shapes[name], device="meta")
        for layer in net.layers
        if not layer.bottoms
        for name in layer.tops
    }
    with torch.no_grad():
        blobs = net.run(fed, keep=True).blobs
    assert {name: tuple(blob.shape) for name, blob in blobs.items()} == net.shapes


def test_label_ids_out_of_range_name_the_label_file(tmp_path):
    from PIL import Image

    for name, value in (("good", 1), ("bad", 9)):
        Image.new("RGB", (33, 33)).save(tmp_path / f"{name}.jpg")
        Image.new("L", (33, 33), value).save(tmp_path / f"{name}.png")
    (tmp_path / "list.txt").write_text("good.jpg good.png\nbad.jpg bad.png\n")
    path = tmp_path / "net.prototxt"
    path.write_text(
        f'''layer {{ name: "data" type: "ImageSegData" top: "data" top: "label"
  image_data_param {{ source: "{tmp_path}/list.txt" root_folder: "{tmp_path}/"
    batch_size: 2 label_type: PIXEL }}
  transform_param {{ crop_size: 33 mean_value: 104 mean_value: 117 mean_value: 123 }} }}
layer {{ name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param {{ num_output: 5 kernel_size: 1 }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" }}'''
    )
    with pytest.raises(NetError, match=r"found: +9 in \S*/bad\.png\n") as caught:
        rlossctl.load_net(path, phase="TRAIN").run()
    assert "good.png" not in str(caught.value)


def test_a_parameter_layer_is_no_image(tmp_path):
    """It has no bottoms either, but the phase must still be that of the data layer."""
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "d" type: "Input" top: "d" include { phase: TRAIN }'
        " input_param { shape { dim: 2 } } }\n"
        'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 2 } } }\n'
        'layer { name: "e" type: "Eltwise" bottom: "d" bottom: "p" top: "e" include { phase: TRAIN } }\n'
    )
    net = load_inference_net(NetOrigin(path))
    assert (net.outputs, net.phase) == (["e"], "TEST")
