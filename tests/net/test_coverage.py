"""Weights that lack layers of the net: what is an error, what is a warning, and what is fine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import rlossctl
from rlossctl.errors import WeightsError
from rlossctl.net.coverage import MissingWeights, copy_covered
from rlossctl.net.saved import layer_records
from rlossctl.weights import load_weights, write_caffemodel, write_caffemodel_h5

X = 'input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'


def conv(name: str, bottom: str, outputs: int = 2, rest: str = "", specs: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" {specs} '
        f"convolution_param {{ num_output: {outputs} kernel_size: 1 {rest} }} }}\n"
    )


def up(bottom: str, filler: str, specs: str = "", rest: str = "bias_term: false") -> str:
    return (
        f'layer {{ name: "up" type: "Deconvolution" bottom: "{bottom}" top: "up" {specs} convolution_param '
        f"{{ num_output: 2 group: 2 kernel_size: 4 stride: 2 pad: 1 {filler} {rest} }} }}\n"
    )


@pytest.fixture
def saved(tmp_path, build):
    """saved(net's text) writes its weights, all ones, and gives the file."""

    def write(text: str) -> Path:
        net = build(X + text)
        with torch.no_grad():
            for blobs in net.params.values():
                for blob in blobs:
                    blob.fill_(1)
        write_caffemodel(tmp_path / "w.caffemodel", net.name, layer_records(net))
        return tmp_path / "w.caffemodel"

    return write


def covered(net, path: Path):
    return copy_covered(net, load_weights(path), path.name)


def test_a_renamed_classifier_is_missing_and_its_other_name_is_told(saved, build):
    weights = saved(conv("a", "x", 3) + conv("score_mine", "a"))
    coverage = covered(build(X + conv("a", "x", 3) + conv("score_other", "a")), weights)
    assert coverage.copied == ("a",) and coverage.missing == ("score_other",)
    assert coverage.unused == ("score_mine",) and coverage.renamed == {"score_other": "score_mine"}
    with pytest.raises(WeightsError, match=r"w\.caffemodel: lacks the weights of 1 layer") as caught:
        coverage.require()
    assert caught.value.found == (
        "nothing for score_other (as score_mine?); layers of the file that the net lacks: score_mine"
    )
    assert "score_other" in coverage.require(allowed=True).warning()
    assert coverage.require(needed={"a"}).warning({"a"}) == ""
    assert "do not lead to the scores: score_other" in " ".join(coverage.notes({"a"}))


def test_another_size_is_no_likely_name(saved, build):
    weights = saved(conv("a", "x", 3) + conv("old", "a", 5))
    assert covered(build(X + conv("a", "x", 3) + conv("new", "a", 2)), weights).renamed == {}


def test_a_file_without_a_common_layer_is_refused_even_where_layers_may_be_missing(saved, build):
    coverage = covered(build(X + conv("b", "x")), saved(conv("a", "x")))
    with pytest.raises(WeightsError, match="no layer in common"):
        coverage.require(allowed=True)


BILINEAR = 'weight_filler { type: "bilinear" }'


@pytest.mark.parametrize(
    ("layer", "fixed"),
    [
        (up("a", BILINEAR, "param { lr_mult: 0 }"), True),
        (up("a", BILINEAR), True),  # deploy prototxts leave the rate out
        (up("a", BILINEAR, rest=""), True),  # a bias of zeros changes nothing
        (up("a", BILINEAR, rest='bias_filler { type: "gaussian" std: 1 }'), False),
        (up("a", 'weight_filler { type: "gaussian" std: 1 }', "param { lr_mult: 0 }"), False),
        (up("a", 'weight_filler { type: "constant" value: 1 }', "param { lr_mult: 0 }"), True),
        (up("a", 'weight_filler { type: "constant" value: 1 }'), False),
        (up("a", "", "param { lr_mult: 0 }"), False),  # a frozen layer that waits for its weights
        (
            'layer { name: "up" type: "BatchNorm" bottom: "a" top: "up" '
            "param { lr_mult: 0 } param { lr_mult: 0 } param { lr_mult: 0 } }",
            False,
        ),
        ('layer { name: "up" type: "PReLU" bottom: "a" top: "up" }', False),
    ],
)
def test_what_only_the_prototxt_fills_is_no_missing_layer(saved, build, layer, fixed):
    coverage = covered(build(X + conv("a", "x") + layer), saved(conv("a", "x")))
    assert (coverage.fixed, coverage.missing) == ((("up",), ()) if fixed else ((), ("up",)))
    if fixed:
        assert "filled as the prototxt says, without learning: up" in coverage.require().notes()[0]


def test_a_shared_blob_may_lie_under_one_name_only(tmp_path, build):
    specs = 'param { name: "w" } param { name: "b" }'
    text = X + conv("a", "x", 3, specs=specs) + conv("b", "a", 3, specs=specs)
    net = build(text)
    arrays = {index: blob.detach().numpy() for index, blob in enumerate(net.params["a"])}
    write_caffemodel_h5(tmp_path / "w.caffemodel.h5", [("a", arrays)])
    assert covered(build(text), tmp_path / "w.caffemodel.h5").missing == ()


def test_load_net_warns_of_missing_weights_in_a_test_net_only(saved, tmp_path):
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(X + conv("a", "x", 3) + conv("other", "a"))
    weights = saved(conv("a", "x", 3) + conv("mine", "a"))
    with pytest.warns(MissingWeights, match="keep their fillers: other"):
        net = rlossctl.load_net(prototxt, weights)
    assert (net.params["a"][0] == 1).all() and (net.params["other"][0] == 0).all()
    rlossctl.load_net(prototxt, weights, "TRAIN")  # warnings are errors here
    rlossctl.load_net(prototxt, weights, missing="allow")
    with pytest.raises(WeightsError, match="lacks the weights"):
        rlossctl.load_net(prototxt, weights, missing="error")
