"""Which fork's Caffe a net was written for."""

from __future__ import annotations

import pytest

from rlossctl.errors import UsageError
from rlossctl.prototxt import parse_net
from rlossctl.prototxt.dialect import choose, detect
from rlossctl.prototxt.phase import filter_net, net_state


def net(*types: str, fields: str = "") -> object:
    return parse_net("".join(f'layer {{ name: "l_{t}" type: "{t}" {fields} }}' for t in types)).param


@pytest.mark.parametrize(
    ("types", "dialect"),
    [
        (("Data", "Convolution", "Dropout"), "bvlc"),
        (("Convolution", "Interp"), "rloss"),
        (("ImageSegData",), "rloss"),
        (("DenseCRFLoss",), "rloss"),
        (("Convolution", "BN"), "segnet"),
        (("Upsample",), "segnet"),
        (("DenseImageData", "BN"), "segnet"),
    ],
)
def test_layer_types_tell_the_fork(types, dialect):
    found, reason = detect(net(*types))
    assert found == dialect
    assert reason


def test_label_divide_factor_tells_enet():
    param = net("DenseImageData", fields="dense_image_data_param { label_divide_factor: 8 }")
    assert detect(param)[0] == "enet"


def test_the_reason_names_the_layer():
    assert "'l_Interp'" in detect(net("Convolution", "Interp"))[1]


@pytest.mark.parametrize("name", ["bvlc", "rloss", "segnet", "enet"])
def test_the_recorded_nets_are_told_apart(golden, name):
    text = (golden / "wire_conflict" / f"{name}.prototxt").read_text()
    assert detect(parse_net(text).param)[0] == name


def test_a_named_dialect_outranks_the_evidence():
    param = net("Convolution", "Interp")
    assert choose(param, "bvlc") == ("bvlc", "as requested")
    assert choose(param)[0] == "rloss"
    with pytest.raises(UsageError, match="unknown dialect"):
        choose(param, "caffe2")


def test_the_whole_file_is_looked_at_not_one_phase():
    file = parse_net(
        'layer { name: "d" type: "DenseImageData" include { phase: TRAIN } }'
        'layer { name: "s" type: "SoftmaxWithLoss" bottom: "a" bottom: "b" }'
    )
    assert filter_net(file, net_state("TEST")).dialect == "segnet"
