"""What a text holds that the schema does not know: all of it at once, with layer, type, line and fork."""

from __future__ import annotations

import pytest

from rlossctl.errors import NetError, PrototxtError
from rlossctl.net import registry
from rlossctl.prototxt import forks, load_solver_parameter, parse_net
from rlossctl.prototxt.messages import NetParameter
from rlossctl.prototxt.unknown import unknown

NET = """\
layer { name: "c" type: "Convolution" convolution_param { num_output: 4 fancy: [1, 2] kernel_size: 3 } }
layer { name: "d" type: "Convolution" convolution_param { fancy: "a" 'b' num_output: 4 } }
layer {
  type: "MultiBoxLoss" name: "loss"
  multibox_loss_param < num_classes: 21 nms_param { top_k: 5 } >
}
layer { name: "p" type: "Pooling" pooling_param { pool: MIN  # of three
} }
layer { name: "region" type: "RegionLoss" }
shiny { layer { name: "no layer of the net" } }
"""


def test_everything_is_reported_at_once_with_layer_type_and_line():
    with pytest.raises(PrototxtError) as caught:
        parse_net(NET, "net.prototxt")
    assert caught.value.where == "net.prototxt:1"
    assert caught.value.message.startswith("cannot be read as a NetParameter: it holds fields and values")
    assert [row.strip() for row in caught.value.found.splitlines()] == [
        "line 1: convolution_param.fancy in layer 'c' (Convolution); 1 more like it",
        "line 5: multibox_loss_param in layer 'loss' (MultiBoxLoss), of SSD",
        "line 7: pooling_param.pool: MIN in layer 'p' (Pooling)",
        "line 10: shiny",
        "line 9: type: RegionLoss in layer 'region' (RegionLoss), of YOLO forks",
    ]


@pytest.mark.parametrize(
    "text, advice",
    [
        ("layer {\n  name: 'c' type: CONVOLUTION }", 'inside `layer` write type: "Convolution"'),
        ("layer {\n  name: 'c' type: SOFTMAX_LOSS }", 'inside `layer` write type: "SoftmaxWithLoss"'),
        ("layers {\n  name: 'c' type: 'Convolution' }", "inside `layers` the type is a name in capitals"),
        ("layer {\n  name: c type: 'ReLU' }", "put strings in quotes"),
        ("layer { name: 'p' \n proposal_param { x: 1 } type: 'Proposal' }", "cut the net before them"),
        ("net: 'a.prototxt'\nbase_lr: 1 rampup_lr: 2", "this is a solver; give the net that it names"),
    ],
)
def test_the_advice_fits_what_was_found(text: str, advice: str):
    with pytest.raises(PrototxtError) as caught:
        parse_net(text, "net.prototxt")
    assert caught.value.where in ("net.prototxt:2", "net.prototxt:1") and advice in caught.value.advice


def test_of_many_kinds_the_first_are_shown_and_the_rest_counted():
    with pytest.raises(PrototxtError) as caught:
        parse_net("\n".join(f"field_{number}: {number}" for number in range(30)), "net.prototxt")
    rows = caught.value.found.splitlines()
    assert rows[0] == "line 1: field_0" and rows[-1].strip() == "and 10 more" and len(rows) == 21


@pytest.mark.parametrize(
    "text", ["layer { name: 'a'", "a: }", "= 3", "a { ]", "b: [1, 2", '"name": "x"', "x: 'a"]
)
def test_a_text_that_cannot_be_followed_gives_nothing(text: str):
    assert unknown(text, NetParameter.DESCRIPTOR) == []


def test_what_the_schema_knows_is_not_unknown():
    text = """
    name: "n" input_dim: [1, 2] force_backward: true
    layer { include { phase: TEST } loss_weight: -1.5e-3 convolution_param < pad: 0x1 engine: 2 > }
    layers { type: CONVOLUTION, blobs_lr: 1; layer { type: "conv" } }
    """
    assert unknown(text, NetParameter.DESCRIPTOR) == []


def test_unknown_types_name_their_fork(build):
    with pytest.raises(NetError, match=r"MultiBoxLoss \(of SSD\) in layer 'a' .*Nonsense in layer 'b'"):
        build("layer { name: 'a' type: 'MultiBoxLoss' } layer { name: 'b' type: 'Nonsense' }")


def test_no_type_of_the_list_is_one_that_is_computed():
    assert not set(forks.TYPES) & set(registry.kinds())


def test_solver_fields_of_other_forks_are_read_and_said_to_have_no_effect(tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "n" eval_type: "detection" ap_version: "11point" show_per_class_result: true')
    param = load_solver_parameter(path)
    assert param.eval_type == "detection"
    assert [note.split(",")[0] for note in forks.solver_notes(param)] == [
        "ap_version",
        "eval_type",
        "show_per_class_result",
    ]
    path.write_text('net: "n" plateau_winsize: 10 rampup_lr: 1')  # training depends on these
    with pytest.raises(PrototxtError, match=r"plateau_winsize, of SSD\n.*rampup_lr, of NVCaffe"):
        load_solver_parameter(path)
