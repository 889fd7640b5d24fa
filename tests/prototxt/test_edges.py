"""What HED's fork and RCF's mean by SigmoidCrossEntropyLoss, and DSS does not."""

from __future__ import annotations

import pytest

from rlossctl.prototxt.text import NetFile, parse_net

DATA = 'layer { name: "d" type: "ImageLabelmapData" top: "data" top: "label" image_data_param { %s } }\n'
LOSS = 'layer { name: "l" type: "SigmoidCrossEntropyLoss" bottom: "data" bottom: "label" top: "loss" %s }\n'
AUTO_CROP = 'layer { name: "c" type: "AutoCrop" bottom: "data" bottom: "label" top: "c" }\n'


def loss(file: NetFile) -> tuple[bool, float]:
    (param,) = (layer.loss_param for layer in file.param.layer if layer.name == "l")
    return param.balanced, round(param.negative_weight, 6)


def test_nets_of_hed_and_rcf_get_their_loss_and_a_note():
    hed, rcf = parse_net(DATA % "" + LOSS % ""), parse_net(DATA % "" + AUTO_CROP + LOSS % "")
    assert (hed.dialect, loss(hed), loss(rcf)) == ("fcn", (True, 1), (True, 1.1))
    assert "as in HED's fork: loss_param { balanced: true }" in hed.notes[-1]
    assert "as in RCF's fork: loss_param { balanced: true negative_weight: 1.1 }" in rcf.notes[-1]
    assert (
        not hed.param.layer[0].image_data_param.weak_edges and rcf.param.layer[0].image_data_param.weak_edges
    )


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        (DATA % "normalize: true" + LOSS % "", "auto"),
        (DATA % "" + LOSS % "", "bvlc"),
        (DATA % "" + LOSS % "loss_param { balanced: false }", "auto"),
        (LOSS % "", "fcn"),
    ],
    ids=["DSS", "as requested", "stated", "no maps"],
)
def test_other_nets_keep_caffes_loss(text: str, dialect: str):
    file = parse_net(text, "net", dialect)
    assert loss(file) == (False, 1) and not any("weighs" in note for note in file.notes)


def test_a_net_of_rcf_without_a_loss_still_reads_weak_edges():
    file = parse_net(DATA % "" + AUTO_CROP)
    assert file.param.layer[0].image_data_param.weak_edges
    stated = parse_net(DATA % "weak_edges: false" + AUTO_CROP)
    assert not stated.param.layer[0].image_data_param.weak_edges
