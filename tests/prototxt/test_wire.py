"""Binary layers: the forks use LayerParameter's field numbers differently; recorded with their own Caffes."""

from __future__ import annotations

import pytest

from rlossctl.prototxt import parse_net, wire
from rlossctl.prototxt.wire import _fields as fields
from rlossctl.prototxt.wire import _varint as varint

DIALECTS = ["bvlc", "rloss", "segnet", "enet"]


def binary_layers(golden, dialect: str) -> list[bytes]:
    """The bytes of each layer (field 100) of the caffemodel that the fork wrote."""
    data = (golden / "wire_conflict" / f"{dialect}.caffemodel").read_bytes()
    return [payload[varint(payload, 0)[1] :] for number, _, payload in fields(data) if number == 100]


def text_layers(golden, dialect: str) -> list:
    return list(parse_net((golden / "wire_conflict" / f"{dialect}.prototxt").read_text()).param.layer)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_forks_binary_layers_mean_what_its_text_says(golden, dialect):
    binary, text = binary_layers(golden, dialect), text_layers(golden, dialect)
    assert len(binary) == len(text) > 0
    for data, expected in zip(binary, text, strict=True):
        assert wire.decode_layer(data, expected.type, dialect) == expected


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_layer_is_written_with_the_forks_own_bytes(golden, dialect):
    for data, layer in zip(binary_layers(golden, dialect), text_layers(golden, dialect), strict=True):
        assert wire.encode_layer(layer, dialect) == data


def test_one_number_is_read_by_the_layers_type(golden):
    """143 is interp_param in the rloss fork and input_param in BVLC."""
    interp = next(layer for layer in text_layers(golden, "rloss") if layer.type == "Interp")
    source = next(layer for layer in text_layers(golden, "bvlc") if layer.type == "Input")
    for layer, field in ((interp, "interp_param"), (source, "input_param")):
        data = wire.encode_layer(layer, "rloss")
        assert 143 in [number for number, _, _ in fields(data)]
        assert wire.decode_layer(data, layer.type, "rloss").HasField(field)


def test_unknown_fields_are_carried_along():
    unknown = bytes.fromhex("c237") + b"\x02\x08\x01"  # field 888, length-delimited
    layer = wire.decode_layer(b"\x0a\x01a" + unknown, "Convolution", "bvlc")
    assert layer.name == "a"
    assert unknown in wire.encode_layer(layer, "bvlc")


@pytest.mark.parametrize(
    ("kind", "number", "fields"),
    [
        ("ShuffleChannel", 164, "shuffle_channel_param { group: 3 }"),
        ("Permute", 202, "permute_param { order: 0 order: 2 order: 3 }"),
        ("Normalize", 206, "norm_param { across_spatial: false scale_filler { value: 20 } }"),
        ("PixelShuffle", 888, "pixel_shuffle_param { upscale_factor: 2 }"),
        ("ReLU6", 100000, "relu6_param { negative_slope: 0 }"),
        ("PriorBox", 203, "prior_box_param { min_size: 4 clip: true }"),
        ("DetectionOutput", 204, "detection_output_param { num_classes: 2 nms_param { top_k: 3 } }"),
        ("ROIPooling", 147, "roi_pooling_param { pooled_h: 7 pooled_w: 7 }"),
        ("PSROIPooling", 149, "psroi_pooling_param { output_dim: 2 group_size: 7 }"),
        ("SmoothL1Loss", 148, "smooth_l1_loss_param { sigma: 3 }"),
        ("CenterLoss", 147, "center_loss_param { num_output: 9 }"),
        ("BN", 137, "bn_param { slope_filler { value: 1 } momentum: 0.95 frozen: true }"),
    ],
)
def test_layers_that_forks_share_keep_the_number_of_where_they_come_from(kind, number, fields):
    (layer,) = parse_net(f'layer {{ name: "l" type: "{kind}" {fields} }}').param.layer
    for dialect in DIALECTS:
        data = wire.encode_layer(layer, dialect)
        assert [found for found, _, _ in wire._fields(data)] == [1, 2, number]
        assert wire.decode_layer(data, kind, dialect) == layer


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_whole_caffemodel_tells_its_dialect_and_means_what_its_text_says(golden, dialect):
    data = (golden / "wire_conflict" / f"{dialect}.caffemodel").read_bytes()
    expected = parse_net((golden / "wire_conflict" / f"{dialect}.prototxt").read_text())
    param, found, reason = wire.decode_net(data, "net.caffemodel")
    assert (param, found) == (expected.param, dialect) and reason
    assert wire.decode_net(data, "net.caffemodel", dialect)[0] == expected.param
    assert wire.encode_net(param, dialect) == data


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_field_of_our_own_stays_clear_of_the_forks(dialect):
    """densecrf_loss_param is the rloss fork's (152); its mode is ours, and any Caffe skips its number."""
    layer_text = 'layer { name: "l" type: "DenseCRFLoss" densecrf_loss_param { bi_xy_std: 3 mode: EXACT } }'
    (layer,) = parse_net(layer_text).param.layer
    data = wire.encode_layer(layer, dialect)
    assert wire.decode_layer(data, "DenseCRFLoss", dialect) == layer
    (param,) = [payload for number, _, payload in fields(data) if number == 152]
    assert [number for number, _, _ in fields(param[1:])] == [1, 20001]


def test_what_fast_rcnn_wrote_is_read_with_its_older_number():
    (layer,) = parse_net('layer { type: "ROIPooling" roi_pooling_param { pooled_h: 7 } }').param.layer
    data = wire._renumber(wire.encode_layer(layer, "bvlc"), {147: 8266711}, {})
    assert wire.decode_layer(data, "ROIPooling", "bvlc") == layer


@pytest.mark.parametrize(
    ("written", "numbers"),
    [
        ("hole: 2", [1, 17]),
        ("hole_h: 3 hole_w: 2", [1, 18, 19]),
        ("hole: 1", [1, 20017]),
        ("hole_h: 3", [1, 20018]),  # would be read as a dilation
        ("force_nd_im2col: true dilation: 4", [1, 17, 18]),
        ("dilation: 2 cudnn_convolution_algo_seeker: GET", [1, 18, 20020]),
    ],
)
def test_holes_of_deeplab_v1_are_told_from_what_has_their_numbers(written, numbers):
    text = f'layer {{ type: "Convolution" convolution_param {{ num_output: 4 {written} }} }}'
    (layer,) = parse_net(text).param.layer
    for dialect in DIALECTS:
        data = wire.encode_layer(layer, dialect)
        (param,) = [payload for number, _, payload in fields(data) if number == 106]
        assert [number for number, _, _ in fields(param[1:])] == numbers
        assert wire.decode_layer(data, "Convolution", dialect) == layer


def test_segnets_bn_keeps_its_number():
    (layer,) = parse_net('layer { type: "BN" bn_param { scale_filler { value: 1 } } }').param.layer
    assert 45 in [number for number, _, _ in fields(wire.encode_layer(layer, "segnet"))]
