"""The part of a net that maps an image to scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import rlossctl
from rlossctl.errors import NetError
from rlossctl.net.deploy import Deploy, image_blob, preprocess_of, score_blobs, size_rule

INPUT = 'input: "image" input_shape { dim: 1 dim: 3 dim: 33 dim: 33 }\n'
CONV = (
    'layer { name: "c" type: "Convolution" bottom: "image" top: "c" '
    'convolution_param { num_output: 4 kernel_size: 3 pad: 1 stride: 2 weight_filler { type: "msra" } } }\n'
)


@pytest.fixture
def net(small):
    return rlossctl.load_net(small, phase="TRAIN")


def test_scores_are_what_the_first_metric_reads_else_the_first_loss(net, build, small):
    assert score_blobs(net) == ["score"] and image_blob(net) == "data"
    text = "\n".join(line for line in small.read_text().split("\n") if "accuracy" not in line)
    small.write_text(text[: text.rindex("}") + 1])
    assert score_blobs(rlossctl.load_net(small, phase="TRAIN")) == ["fc8"]


def test_without_labels_the_outputs_are_the_scores(build):
    relu = 'layer { name: "r" type: "ReLU" bottom: "c" top: "r" }\n'
    other = 'input: "t" input_shape { dim: 1 }\n'
    assert score_blobs(build(INPUT + other + CONV + relu)) == ["r"]


def test_deploy_computes_what_the_net_computes(net):
    deploy = Deploy(net).eval()
    assert (deploy.input_name, deploy.output_names) == ("data", ["score"])
    assert [layer.name for layer in deploy.layers] == ["conv1", "relu1", "pool1", "drop1", "fc8", "up"]
    x = torch.randn(2, 3, 33, 33)
    torch.manual_seed(5)
    found = deploy(x)
    torch.manual_seed(5)
    expected = net.run({"data": x}, until=["score"]).blobs["score"]
    assert isinstance(found, tuple) and torch.equal(found[0], expected)
    assert [blob.shape[1] for blob in deploy.run(x, ["conv1", "fc8"])] == [6, 5]


def test_other_outputs_may_be_named(net):
    deploy = Deploy(net, ["fc8", "conv1"])
    shapes = [tuple(blob.shape) for blob in deploy(torch.zeros(1, 3, 33, 33))]
    assert shapes == [(1, 5, 17, 17), (1, 6, 33, 33)]


def test_unknown_outputs_and_outputs_that_need_labels_are_refused(net):
    with pytest.raises(NetError, match="has no blob 'scores'") as caught:
        Deploy(net, ["scores"])
    assert "score" in caught.value.expected
    with pytest.raises(NetError, match="needs 'label'") as caught:
        Deploy(net, ["accuracy"])
    assert "--output" in caught.value.advice


def test_a_net_without_an_image(build):
    text = (
        'layer { name: "d" type: "Input" top: "x" include { phase: TRAIN } '
        "input_param { shape { dim: 1 dim: 2 } } }\n"
        'layer { name: "r" type: "ReLU" bottom: "x" top: "r" include { phase: TRAIN } }\n'
    )
    with pytest.raises(NetError, match="no image input"):
        image_blob(build(text, "TEST"))


def chain(*layers: str) -> str:
    names = ["image", *(f"b{index}" for index in range(len(layers)))]
    return INPUT + "".join(
        f'layer {{ name: "{top}" bottom: "{bottom}" top: "{top}" {text} }}\n'
        for bottom, top, text in zip(names, names[1:], layers, strict=False)
    )


POOL = 'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 pad: 1 }'
FLOOR_POOL = 'type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }'
ZOOM = 'type: "Interp" interp_param { zoom_factor: %d }'


@pytest.mark.parametrize(
    ("layers", "rule"),
    [
        (['type: "ReLU"'], (1, 0)),
        ([POOL, ZOOM % 2], (2, 1)),
        ([POOL, POOL, POOL, ZOOM % 8], (8, 1)),
        ([POOL], (1, 0)),  # never the input's size: no rule
        ([FLOOR_POOL, 'type: "Interp" interp_param { height: 33 width: 33 }'], (1, 0)),
    ],
)
def test_size_rule(build, layers, rule):
    assert size_rule(Deploy(build(chain(*layers)))) == rule


def test_size_rule_leaves_the_weights_alone(net):
    deploy = Deploy(net)
    before = [blob.clone() for blob in net.parameters()]
    assert size_rule(deploy) == (2, 1)
    assert all(map(torch.equal, before, net.parameters()))


def test_size_rule_works_with_shared_weights_and_statistics(build):
    text = INPUT + "".join(
        f'layer {{ name: "{top}" type: "Convolution" bottom: "{bottom}" top: "{top}" param {{ name: "w" }} '
        "convolution_param { num_output: 3 kernel_size: 3 pad: 1 bias_term: false } }\n"
        for bottom, top in (("image", "a"), ("a", "b"))
    )
    text += 'layer { name: "n" type: "BatchNorm" bottom: "b" top: "n" }\n'
    assert size_rule(Deploy(build(text, "TEST"))) == (1, 0)


@pytest.mark.parametrize(
    ("kind", "param", "crop"),
    [
        ("ImageSegData", "image_data_param { }", (20, 20)),
        ("ImageData", "image_data_param { }", (20, 20)),
        ("DenseImageData", "dense_image_data_param { batch_size: 1 crop_height: 30 crop_width: 30 }", None),
        ("Data", "data_param { batch_size: 1 }", "none"),
    ],
)
def test_photos_are_prepared_as_the_nets_own_data_layer_does(build, kind, param, crop):
    transform = "transform_param { crop_size: 20 scale: 0.5 mean_value: 1 mean_value: 2 mean_value: 3 }"
    text = f'layer {{ name: "in" type: "{kind}" top: "image" top: "label" {param} {transform} }}\n' + CONV
    net = build(text)
    prepared = preprocess_of(net, Deploy(net, ["c"]))
    if crop == "none":
        assert prepared is None
        return
    assert (prepared.mean_bgr, prepared.scale, prepared.crop) == ((1, 2, 3), 0.5, crop)
    assert prepared.apply(np.zeros((8, 8, 3), np.uint8))[1] == (8, 8)


def test_a_mean_image_is_no_preprocessing_of_photos_of_any_size(build):
    text = (
        'layer { name: "in" type: "ImageData" top: "image" top: "label" image_data_param { } '
        'transform_param { crop_size: 20 mean_file: "mean" } }\n' + CONV
    )
    net = build(text)
    assert preprocess_of(net, Deploy(net, ["c"])) is None
