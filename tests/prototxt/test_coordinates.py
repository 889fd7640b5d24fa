"""Offsets of Crops from the coordinates of the layers between their bottoms."""

from __future__ import annotations

import pytest

from rlossctl.errors import NetError
from rlossctl.prototxt import parse_net
from rlossctl.prototxt.coordinates import Map, Places, Unrelated, resolved

DATA = 'input: "data" input_shape { dim: 1 dim: 3 dim: 64 dim: 96 }\n'


def window(kind: str, name: str, bottom: str, fields: str) -> str:
    param = "pooling_param {" if kind == "Pooling" else "convolution_param { num_output: 2"
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" {param} {fields} }} }}\n'


def crop(blob: str, reference: str, fields: str = "") -> str:
    return (
        f'layer {{ name: "crop" type: "Crop" bottom: "{blob}" bottom: "{reference}" top: "out" {fields} }}\n'
    )


def offset(text: str, blob: str, reference: str) -> tuple[int, int]:
    places = Places()
    for layer in parse_net(text).param.layer:
        places.add(layer)
    return places.offset(blob, reference)


def fcn(pools: int, pad: int, *up: tuple[int, int]) -> str:
    """A VGG as FCN has it: convolutions of 3, pools of 2, a convolution of 7, and Deconvolutions."""
    text, last = "", "data"
    for level in range(pools):
        own = pad if level == 0 else 1
        text += window("Convolution", f"conv{level}", last, f"kernel_size: 3 pad: {own}")
        text += f'layer {{ name: "r{level}" type: "ReLU" bottom: "conv{level}" top: "conv{level}" }}\n'
        text += window("Pooling", f"pool{level}", f"conv{level}", "pool: MAX kernel_size: 2 stride: 2")
        last = f"pool{level}"
    text += window("Convolution", "fc6", last, "kernel_size: 7")
    last = "fc6"
    for number, (kernel, stride) in enumerate(up):
        text += window("Deconvolution", f"up{number}", last, f"kernel_size: {kernel} stride: {stride}")
        last = f"up{number}"
    return text


def test_the_offsets_of_the_fcn_nets_are_those_that_their_authors_wrote_down():
    # fcn.berkeleyvision.org: 19 in voc-fcn32s; 5 and 27 in voc-fcn16s; 5, 9 and 31 in voc-fcn8s.
    assert offset(DATA + fcn(5, 100, (64, 32)), "up0", "data") == (19, 19)
    net = DATA + fcn(5, 100, (4, 2))
    assert offset(net, "pool3", "up0") == (5, 5)
    cropped = net + crop("pool3", "up0", "crop_param { offset: 5 }")
    full = cropped + window("Deconvolution", "big", "out", "kernel_size: 32 stride: 16")
    assert offset(full, "big", "data") == (27, 27)


@pytest.mark.parametrize("kernel, stride, expected", [(4, 2, 35), (8, 4, 36), (16, 8, 38), (32, 16, 42)])
def test_the_offsets_of_hed(kernel: int, stride: int, expected: int):
    # Side outputs of HED: 34 for the first, then what its Deconvolutions add (35, 36, 38, 42).
    pools = {2: 1, 4: 2, 8: 3, 16: 4}[stride]
    net = DATA + fcn(pools, 35).replace("kernel_size: 7", "kernel_size: 1")
    assert offset(net, "conv0", "data") == (34, 34)
    net += window("Deconvolution", "up", "fc6", f"kernel_size: {kernel} stride: {stride}")
    assert offset(net, "up", "data") == (expected, expected)


def test_rows_and_columns_each_follow_their_own_windows():
    net = DATA + window(
        "Convolution", "c", "data", "kernel_h: 3 kernel_w: 5 pad_h: 6 pad_w: 4 hole_h: 2 hole_w: 1"
    )
    assert offset(net, "c", "data") == (4, 2)
    net = DATA + window("Pooling", "c", "data", "kernel_h: 3 kernel_w: 1 stride: 1 pad_h: 2")
    assert offset(net, "c", "data") == (1, 0)
    net = DATA + window("Convolution", "c", "data", "kernel_size: 3 pad: 4 dilation: 2") + crop("c", "data")
    net = net.replace('top: "out" ', 'top: "out" crop_param { offset: 1 offset: 2 }')
    assert offset(net, "out", "data") == (1, 0)


def test_what_is_not_related_has_no_offset():
    coarse = DATA + window("Convolution", "c", "data", "kernel_size: 3 stride: 2")
    with pytest.raises(Unrelated, match=r"0\.5 rows for each"):
        offset(coarse, "c", "data")
    with pytest.raises(Unrelated, match="begins before"):
        offset(DATA + window("Convolution", "c", "data", "kernel_size: 3"), "c", "data")
    other = DATA + 'layer { name: "o" type: "Input" top: "o" }\n'
    with pytest.raises(Unrelated, match="different blobs"):
        offset(other, "o", "data")
    flat = DATA + 'layer { name: "o" type: "Flatten" bottom: "data" top: "o" }\n'
    with pytest.raises(Unrelated, match="different blobs"):
        offset(flat, "o", "data")


def test_maps_are_composed_and_inverted():
    a, b = Map(2, 1), Map(3, -4)
    assert a.after(b) == Map(6, -7) and a.after(a.inverse()) == Map() == a.inverse().after(a)


NET = DATA + window("Convolution", "c", "data", "kernel_size: 3 pad: 6") + crop("c", "data")


def test_bvlc_takes_0_and_says_what_the_other_branches_take():
    file = parse_net(NET)
    assert not file.param.layer[1].crop_param.offset and file.dialect == "bvlc"
    assert file.notes == (
        "Crop without an offset: 0, as in BVLC; the FCN and HED branches take 5 for 'c' (--dialect fcn)",
    )


@pytest.mark.parametrize(
    "text, dialect",
    [
        (NET, "fcn"),
        (NET.replace('top: "out"', 'top: "out" crop_param { by_coordinates: true }'), "auto"),
        (NET + 'layer { name: "d" type: "ImageLabelmapData" top: "e" top: "f" }', "auto"),
        (NET.replace('"Crop"', '"AutoCrop"'), "bvlc"),
        (
            DATA + "layers { type: CONVOLUTION name: 'c' bottom: 'data' top: 'c' convolution_param { "
            "num_output: 2 kernel_size: 3 pad: 6 } } "
            "layers { type: CROP bottom: 'c' bottom: 'data' top: 'o' }",
            "auto",
        ),
    ],
    ids=["dialect", "field", "type of HED", "RCF", "V1"],
)
def test_the_fcn_branch_takes_the_coordinates_and_says_so(text: str, dialect: str):
    file = parse_net(text, "net.prototxt", dialect)
    assert list(file.param.layer[1].crop_param.offset) == [5, 5]
    assert "Crop without an offset, as in the FCN and HED branches: 5 for 'c', from coordinates" in file.notes


def test_a_stated_offset_stays_and_the_net_given_is_not_changed():
    stated = parse_net(NET.replace('top: "out"', 'top: "out" crop_param { offset: 2 }'), "n", "fcn")
    assert list(stated.param.layer[1].crop_param.offset) == [2] and not stated.notes
    net = parse_net(NET).param
    assert resolved(net, "fcn")[0] is not net and not net.layer[1].crop_param.offset


def test_a_crop_counts_for_the_next_with_the_offset_that_was_found():
    net = NET + window("Convolution", "d", "out", "kernel_size: 3 pad: 3")
    net += 'layer { name: "crop2" type: "Crop" bottom: "d" bottom: "data" top: "out2" }\n'
    first, second = (layer for layer in parse_net(net, "n", "fcn").param.layer if layer.type == "Crop")
    assert list(first.crop_param.offset) == [5, 5] and list(second.crop_param.offset) == [2, 2]


def test_a_dialect_that_is_chosen_when_the_net_is_built_counts(build):
    net = build(NET, dialect="fcn")
    assert net.layers[1].module.axes == ((2, 5), (3, 5)) and "from coordinates" in net.file.notes[-1]


def test_coordinates_that_tell_nothing_are_an_error(build):
    text = DATA + 'layer { name: "f" type: "Power" bottom: "data" top: "f" }\n'
    text += 'layer { name: "r" type: "Tile" bottom: "data" top: "r" tile_param { tiles: 1 } }\n'
    text += crop("r", "data", "crop_param { by_coordinates: true }")
    with pytest.raises(NetError, match="cannot be computed from coordinates"):
        build(text)
