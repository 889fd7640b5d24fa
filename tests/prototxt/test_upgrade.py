"""V0 and V1 nets: what Caffe's own upgrade tools made of the same files."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from google.protobuf import text_format

from rlossctl.errors import PrototxtError
from rlossctl.net import registry
from rlossctl.prototxt import load_net_file, load_solver_parameter, parse_net, wire
from rlossctl.prototxt.messages import NetParameter, SolverParameter
from rlossctl.prototxt.text import net_file, parse
from rlossctl.prototxt.upgrade import modernize, upgrade
from rlossctl.weights import load_caffemodel
from rlossctl.weights.legacy import V0_TYPES, V1_TYPES

TESTS = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("RLOSSCTL_SHARED", TESTS.parent.parent / "shared"))
FATAL = {
    "v0_bad_type": ("has no V0 layer type", "'nonsense'"),
    "v1_and_v2_mixed": ("has both `layer` and `layers`", "1 `layer` and 1 `layers`"),
}


def inputs(folder: Path, suffix: str = ".prototxt") -> list[str]:
    files = sorted(folder.glob(f"*.in{suffix}"))
    return [file.name.removesuffix(f".in{suffix}") for file in files]


def check(folder: Path, name: str) -> None:
    source, expected = folder / f"{name}.in.prototxt", folder / f"{name}.out.prototxt"
    if name in FATAL:
        assert "Check failure" in (folder / f"{name}.log").read_text()
        with pytest.raises(PrototxtError) as caught:
            load_net_file(source)
        assert FATAL[name][0] in caught.value.message and FATAL[name][1] in caught.value.found
        return
    if name.startswith("solver"):
        assert load_solver_parameter(source) == parse(expected.read_text(), SolverParameter, name)
        return
    file = load_net_file(source)
    assert modernize(file.param, "bvlc") == parse(expected.read_text(), NetParameter, name)
    assert not file.param.layers


@pytest.mark.parametrize("name", inputs(TESTS / "golden" / "legacy"))
def test_text_upgrades_as_caffe_upgrades_it(golden, name):
    check(golden / "legacy", name)


@pytest.mark.parametrize("name", inputs(SHARED / "prototxt" / "bvlc_legacy") or ["absent"])
def test_caffes_own_old_nets(shared, name):
    check(shared / "prototxt" / "bvlc_legacy", name)


@pytest.mark.parametrize("name", inputs(TESTS / "golden" / "legacy", ".caffemodel"))
def test_binary_upgrades_to_the_same_bytes(golden, name):
    old = (golden / "legacy" / f"{name}.in.caffemodel").read_bytes()
    new = (golden / "legacy" / f"{name}.out.caffemodel").read_bytes()
    param, dialect, _ = wire.decode_net(old, name)
    assert dialect == "bvlc"
    assert wire.encode_net(modernize(upgrade(param, name).param, "bvlc"), "bvlc") == new


def test_the_real_v1_lenet(shared):
    model = load_caffemodel(shared / "data" / "models" / "lenet_v1" / "lenet_iter_10000")
    param, _, _ = wire.decode_net(model.message_bytes(), model.path)
    text = (shared / "prototxt" / "bvlc_legacy" / "lenet_v1_real.upgraded_noblobs.prototxt").read_text()
    expected = parse(text, NetParameter, "lenet")
    for layer in expected.layer:
        del layer.blobs[:]
    assert modernize(upgrade(param, model.path).param, "bvlc") == expected


def test_field_without_meaning_is_left_out_with_a_note(golden):
    file = load_net_file(golden / "legacy" / "v0_bad_field.in.prototxt")
    assert file.notes[0].endswith("upgraded from Caffe's V0 form")
    assert file.notes[1] == "layer 's': num_output has no meaning for type relu; left out, as in Caffe"


def test_lines_follow_the_layers_past_removed_padding(golden):
    file = load_net_file(golden / "legacy" / "v0_small.in.prototxt")
    text = (golden / "legacy" / "v0_small.in.prototxt").read_text().split("\n")
    assert len(file.lines) == len(file.param.layer)
    for line, layer in zip(file.lines, file.param.layer, strict=True):
        assert f'name: "{layer.name}"' in text[line - 1]


def test_inputs_stay_native_until_a_file_is_rewritten(golden):
    file = load_net_file(golden / "legacy" / "v2_input_shape.in.prototxt")
    assert list(file.param.input) == ["a", "b"] and file.param.layer[0].type == "Silence"
    assert list(modernize(file.param, "rloss").input) == ["a", "b"]
    assert modernize(file.param, "enet").layer[0].type == "Input"


def test_type_names_agree_with_those_of_the_weights_room():
    for number, expected in V1_TYPES.items():
        net = NetParameter()
        net.layers.add(type=number)
        assert upgrade(net, "f").param.layer[0].type == expected
    for name, expected in V0_TYPES.items():
        net = NetParameter()
        net.layers.add().layer.type = name
        assert upgrade(net, "f").param.layer[0].type == expected


def test_shared_blobs_keep_names_modes_and_rates():
    layer = parse_net(
        'layers { name: "a" type: INNER_PRODUCT param: "w" param: "b" blob_share_mode: PERMISSIVE '
        "blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0 loss_weight: 3 }"
    ).param.layer[0]
    specs = [(spec.name, spec.share_mode, spec.lr_mult, spec.decay_mult) for spec in layer.param]
    assert specs == [("w", 1, 1, 1), ("b", 0, 2, 0)] and list(layer.loss_weight) == [3]


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ('{ layer { name: "r" type: "relu" } bottom: "b" }', "'b' is not a top"),
        ('{ layer { type: "padding" name: "p" } bottom: "a" top: "p" } layers { layer { name: "r" '
         'type: "relu" } bottom: "p" }', "reads the padding layer 'p'"),
        ('{ layer { type: "padding" name: "p" } bottom: "a" top: "p" top: "q" } layers { layer { name: "r" '
         'type: "conv" } bottom: "p" }', "one bottom and one top"),
        ('{ layer { type: "relu" } bottom: "a" } layers { name: "x" type: RELU }', "no V0 layer type"),
    ],
)  # fmt: skip
def test_what_caffe_calls_fatal_in_v0_is_refused(layers, reason):
    with pytest.raises(PrototxtError) as caught:
        parse_net(f'input: "a" input_dim: 1 layers {layers}', "old.prototxt")
    assert reason in caught.value.message and caught.value.where == "old.prototxt"


def test_an_inline_net_is_upgraded():
    solver = text_format.Parse('net_param { layers { name: "r" type: RELU } }', SolverParameter())
    file = net_file(solver.net_param, "solver.prototxt (net_param)")
    assert file.param.layer[0].type == "ReLU" and "V1" in file.notes[0]


@pytest.mark.parametrize(
    "data", [b"\x12\x05\x0a", b"\xa2\x06\x02\x0b\x0c", b"\xff" * 12, b"\xa2\x06\x01\xff"]
)
def test_damaged_bytes_are_refused(data):
    with pytest.raises(PrototxtError, match="is not a binary NetParameter"):
        wire.decode_net(data, "x.caffemodel")


def test_mutated_files_are_upgraded_or_refused(golden):
    """Never another exception, however a file is damaged."""
    draw = random.Random(0)
    folder = golden / "legacy"
    seeds = [file.read_bytes() for file in sorted(folder.glob("*.caffemodel"))]
    texts = [file.read_text().split(" ") for file in sorted(folder.glob("v*.in.prototxt"))]
    words = [word for text in texts for word in text]
    refused = upgraded = 0
    for _ in range(400):
        data, text = bytearray(draw.choice(seeds)), list(draw.choice(texts))
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(data))
            data[at : at + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
            text[draw.randrange(len(text))] = draw.choice(words)
        for read in (
            lambda data=data: net_file(wire.decode_net(bytes(data), "f")[0], "f"),
            lambda text=text: parse_net(" ".join(text), "f"),
        ):
            try:
                modernize(read().param, "bvlc")
                upgraded += 1
            except PrototxtError:
                refused += 1
    assert refused > 100 and upgraded > 10


def test_types_of_the_forks_v1_have_their_names_of_today():
    """CROP, BN, IMAGE_SEG_DATA and others, which BVLC's V1 does not have: of DeepLab v1, DeconvNet, HED."""
    types = {
        "IMAGE_SEG_DATA": "ImageSegData",
        "INTERP": "Interp",
        "SEG_ACCURACY": "SegAccuracy",
        "DENSE_CRF": "DenseCRF",
        "BN": "BN",
        "UNPOOLING": "Unpooling",
        "CROP": "Crop",
        "IMAGE_LABELMAP_DATA": "ImageLabelmapData",
        "MULTI_STAGE_MEANFIELD": "MultiStageMeanfield",
        "PRELU": "PReLU",
        "ROI_POOLING": "ROIPooling",
        "SMOOTH_L1_LOSS": "SmoothL1Loss",
    }
    text = "".join(f"layers {{ type: {name} name: '{name}' }}\n" for name in types)
    layers = parse_net(text + "layers { type: INTERP interp_param { zoom_factor: 8 } }").param.layer
    assert [layer.type for layer in layers] == [*types.values(), "Interp"]
    assert layers[-1].interp_param.zoom_factor == 8
    assert set(types.values()) <= set(registry.kinds())
