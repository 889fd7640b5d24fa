"""Nets written as Python."""

from __future__ import annotations

import pytest

from rlossctl.errors import PrototxtError
from rlossctl.prototxt import parse_net
from rlossctl.prototxt.netspec import L, NetSpec, message_text, own_message

LENET = """\
# A small net.
#
# Second paragraph.
name: "LeNet"
layer {
  name: "data"
  type: "Data"
  top: "data"
  top: "label"
  data_param { source: "db" batch_size: 64 backend: LMDB }
}

# the body
layer {
  name: "conv1"
  type: "Convolution"
  bottom: "data"
  top: "conv1"
  param { lr_mult: 1 }
  param { lr_mult: 2 decay_mult: 0 }
  convolution_param {
    num_output: 20
    kernel_size: 5
    kernel_size: 3
    bias_term: false
    weight_filler { type: "gaussian" std: 0.01 }
  }
}
layer {
  name: "relu1"
  type: "ReLU"
  bottom: "conv1"
  top: "conv1"
}
layer {
  name: "fc8_${EXP}"
  type: "Convolution"
  bottom: "conv1"
  top: "fc8_${EXP}"
  convolution_param { num_output: ${NUM_LABELS} kernel_size: 1 }
}
layer {
  name: "loss"
  type: "SoftmaxWithLoss"
  bottom: "fc8_${EXP}"
  bottom: "label"
  loss_weight: ${WEIGHT}
  loss_param { ignore_label: 255 }
}
"""


def lenet() -> NetSpec:
    n = NetSpec("LeNet", header="A small net.\n\nSecond paragraph.\n")
    n.data, n.label = L.Data(ntop=2, name="data", source="db", batch_size=64, backend="LMDB")
    n.comment("the body")
    n.conv1 = L.Convolution(
        n.data,
        param=[{"lr_mult": 1}, {"lr_mult": 2, "decay_mult": 0}],
        num_output=20,
        kernel_size=[5, 3],
        bias_term=False,
        weight_filler={"type": "gaussian", "std": 0.01},
    )
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n["fc8_${EXP}"] = L.Convolution(n.relu1, num_output="${NUM_LABELS}", kernel_size=1)
    n.loss = L.SoftmaxWithLoss(n["fc8_${EXP}"], n.label, ntop=0, loss_weight="${WEIGHT}", ignore_label=255)
    return n


def test_the_text_of_a_net():
    assert lenet().to_text() == LENET


def test_the_text_is_the_same_every_time():
    n = lenet()
    assert n.to_text() == n.to_text() == lenet().to_text()


def test_the_text_parses_to_what_was_written():
    text = LENET.replace("${EXP}", "voc").replace("${NUM_LABELS}", "21").replace("${WEIGHT}", "1e-8")
    net = parse_net(text).param
    assert net.layer[1].convolution_param.kernel_size == [5, 3]
    assert net.layer[3].convolution_param.num_output == 21
    assert net.layer[4].loss_weight[0] == pytest.approx(1e-8)
    assert not net.layer[4].top


def test_strings_are_quoted_and_numbers_exact():
    n = NetSpec('a "b" \\ c')
    n.x = L.Power(L_input(n), scale=1e-8, shift=0.1, power=3)
    net = parse_net(n.to_text()).param
    assert net.name == 'a "b" \\ c'
    power = net.layer[1].power_param
    assert (power.scale, power.shift, power.power) == pytest.approx((1e-8, 0.1, 3))


def L_input(n: NetSpec):
    n.data = L.Input(shape={"dim": [1, 3, 9, 9]})
    return n.data


def test_a_dict_for_the_types_own_message_is_merged_with_its_keywords():
    n = NetSpec("n")
    n.pool = L.Pooling(L_input(n), pooling_param={"pool": "AVE"}, kernel_size=3)
    pooling = parse_net(n.to_text()).param.layer[1].pooling_param
    assert (pooling.pool, pooling.kernel_size) == (1, 3)


@pytest.mark.parametrize(
    ("layer_type", "message"),
    [
        ("Convolution", "convolution_param"),
        ("Deconvolution", "convolution_param"),
        ("ImageSegData", "image_data_param"),
        ("DenseCRFLoss", "densecrf_loss_param"),
        ("DenseCRF", "dense_crf_param"),
        ("BN", "bn_param"),
        ("LRN", "lrn_param"),
        ("Silence", None),
    ],
)
def test_a_types_own_message_comes_from_the_schema(layer_type, message):
    assert own_message(layer_type) == message


def test_a_top_may_have_another_name_than_its_layer():
    n = NetSpec("n")
    n.score_map = L.Interp(L_input(n), name="interp", zoom_factor=8)
    layer = parse_net(n.to_text()).param.layer[1]
    assert (layer.name, list(layer.top)) == ("interp", ["score_map"])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda x: L.Pooling(x, kernel=3), "kernel is not a field of PoolingParameter"),
        (lambda x: L.Silence(x, kernel_size=3), "has a keyword that no layer has"),
        (lambda x: L.Pooling(x, kernel_size="three"), "kernel_size has a value of the wrong kind"),
        (lambda x: L.Pooling(x, kernel_size=-3), "kernel_size has a value of the wrong kind"),
        (lambda x: L.Pooling(x, kernel_size=[3, 3]), "kernel_size has a value of the wrong kind"),
        (lambda x: L.Pooling(x, kernel_size=2.5), "kernel_size has a value of the wrong kind"),
        (lambda x: L.Pooling(x, pool="MEAN"), "MAX or AVE or STOCHASTIC"),
        (lambda x: L.Convolution(x, bias_term=1), "True or False"),
        (lambda x: L.Convolution(x, weight_filler="msra"), "a dict with fields of FillerParameter"),
        (lambda x: L.Convolution(x, weight_filler={"kind": "msra"}), "kind is not a field of Filler"),
    ],
)
def test_mistakes_are_named_with_the_layer(make, says):
    n = NetSpec("n")
    n.wrong = make(L_input(n))
    with pytest.raises(PrototxtError) as caught:
        n.to_text()
    assert says in str(caught.value)
    assert str(caught.value).startswith("layer 'wrong'")


def test_two_outputs_of_one_name_are_refused():
    n = NetSpec("n")
    L_input(n)
    with pytest.raises(PrototxtError, match="two outputs with the same name"):
        n.data = L.ReLU(n.data)


def test_an_output_must_be_assigned_before_it_is_read():
    n = NetSpec("n")
    n.relu = L.ReLU(L.ReLU(L_input(n)))
    with pytest.raises(PrototxtError, match="has no name"):
        n.to_text()
    with pytest.raises(AttributeError, match="'later'"):
        _ = n.later


def test_every_output_of_a_layer_must_be_assigned():
    n = NetSpec("n")
    n.data, _ = L.Data(ntop=2, source="db")
    with pytest.raises(PrototxtError, match="an output of this layer has no name"):
        n.to_text()


def test_any_message_can_be_written():
    text = message_text(
        "SolverParameter", {"base_lr": 1e-4, "stepvalue": [1, 2], "solver_mode": "CPU"}, header="h"
    )
    assert text == "# h\nbase_lr: 0.0001\nstepvalue: 1\nstepvalue: 2\nsolver_mode: CPU\n"
