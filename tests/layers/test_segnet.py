"""BN, Upsample, sampling Dropout and class weights where the recordings of the forks do not reach."""

from __future__ import annotations

import pytest
import torch

from rlossctl.errors import NetError

X = 'input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }\n'
T = 'input: "t" input_shape { dim: 2 dim: 1 dim: 4 dim: 5 }\n'
BN = X + 'layer { name: "l" type: "BN" bottom: "x" top: "y" %s }'
UP = (
    'input: "x" input_shape { dim: 1 dim: 1 dim: 2 dim: 2 } '
    'input: "m" input_shape { dim: 1 dim: 1 dim: 2 dim: 2 }'
    'layer { name: "l" type: "Upsample" bottom: "x" bottom: "m" top: "y" %s }'
)


def test_bn_far_from_zero_is_exact_where_the_original_cancels(build):
    net = build(BN % "bn_param { scale_filler { value: 1.5 } shift_filler { value: 0.5 } }")
    x = 100 + torch.randn((2, 3, 4, 5), generator=torch.Generator().manual_seed(0))
    exact = x.double()
    variance, mean = torch.var_mean(exact, (0, 2, 3), correction=0, keepdim=True)
    expected = 1.5 * (exact - mean) / torch.sqrt(variance + 1e-9) + 0.5
    torch.testing.assert_close(net(x=x)["y"].double(), expected, rtol=1e-5, atol=1e-5)


def test_bn_of_a_constant_input_is_the_shift_where_the_original_has_nan(build):
    net = build(BN % "bn_param { scale_filler { value: 1 } shift_filler { value: 0.25 } }")
    y = net(x=torch.full((2, 3, 4, 5), 3.0))["y"]
    torch.testing.assert_close(y, torch.full_like(y, 0.25), rtol=0, atol=0.01)  # 1e-7 of 3 by 1 / sqrt(1e-9)


def test_bn_without_fillers_gives_zero_in_both_modes(build):
    for mode in ("LEARN", "INFERENCE"):
        net = build(BN % f"bn_param {{ bn_mode: {mode} }}")
        assert not net(x=torch.randn(2, 3, 4, 5))["y"].any()


def test_bn_folded_has_no_statistics(build):
    with pytest.raises(NetError, match="no statistics"):
        build(BN % 'top: "mean" bn_param { bn_mode: INFERENCE }')


def test_upsample_reads_the_index_with_the_width_of_its_output(build):
    net = build(UP % "upsample_param { upsample_h: 3 upsample_w: 5 }")
    x, mask = torch.tensor([[[[1.0, 2], [3, 4]]]]), torch.tensor([[[[0.0, 7], [4, 14]]]])
    y = net(x=x, m=mask)["y"]
    assert y[0, 0].tolist() == [[1, 0, 0, 0, 3], [0, 0, 2, 0, 0], [0, 0, 0, 0, 4]]


@pytest.mark.parametrize("index", [16, -1])
def test_upsample_refuses_an_index_outside(build, index):
    with pytest.raises(NetError, match="is outside the output") as caught:
        build(UP % "")(x=torch.ones(1, 1, 2, 2), m=torch.full((1, 1, 2, 2), float(index)))
    assert caught.value.expected == "0 to 15"


def test_upsample_pads_out_only_with_scale_two(build):
    assert build(UP % "upsample_param { pad_out_w: true }").shapes["y"] == (1, 1, 4, 3)
    with pytest.raises(NetError, match="need a scale of 2"):
        build(UP % "upsample_param { scale: 3 pad_out_w: true }")


def test_dropout_samples_in_test_when_told(build):
    text = X + 'layer { name: "l" type: "Dropout" bottom: "x" top: "y" dropout_param { %s } }'
    x = torch.ones((2, 3, 4, 5))
    sampling = build(text % "sample_weights_test: true dropout_ratio: 0.25", "TEST")
    torch.manual_seed(0)
    first, second = sampling(x=x)["y"], sampling(x=x)["y"]
    assert sorted(first.unique().tolist()) == pytest.approx([0, 4 / 3]) and not torch.equal(first, second)
    assert torch.equal(build(text % "", "TEST")(x=x)["y"], x)


def test_class_weights_must_cover_the_classes(build):
    text = X + T + 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "t" top: "loss" %s }'
    with pytest.raises(NetError, match="once per class"):
        build(text % "loss_param { weight_by_label_freqs: true class_weighting: 1 }")
    plain = build(text % "loss_param { class_weighting: 5 class_weighting: 5 class_weighting: 5 }")
    x, t = torch.randn(2, 3, 4, 5), torch.ones(2, 1, 4, 5)
    assert plain(x=x, t=t)["loss"] == build(text % "")(x=x, t=t)["loss"]  # only weight_by_label_freqs counts


@pytest.mark.parametrize("dialect", ["segnet", "enet"])
def test_all_ignored_batch_gives_zero_in_the_forks_too(build, dialect):
    text = (
        X
        + T
        + (
            'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "t" top: "loss" '
            "loss_param { ignore_label: 11 } }"
        )
    )
    net = build(text, dialect=dialect)
    assert net(x=torch.randn(2, 3, 4, 5), t=torch.full((2, 1, 4, 5), 11.0))["loss"] == 0


def test_labels_beyond_the_classes_count_as_wrong_in_the_forks_only(build):
    """SegNet's published training nets measure Accuracy over 11 classes and leave 11 in the labels."""
    text = X + T + 'layer { name: "l" type: "Accuracy" bottom: "x" bottom: "t" top: "a" top: "c" }'
    x, t = torch.zeros(2, 3, 4, 5), torch.zeros(2, 1, 4, 5)
    x[:, 0], t[0] = 1, 3
    found = build(text, "TEST", dialect="segnet")(x=x, t=t)
    assert found["a"].item() == 0.5 and found["c"].flatten().tolist() == [1, 1, 1]
    with pytest.raises(NetError, match="label ids out of range"):
        build(text, "TEST", dialect="bvlc")(x=x, t=t)
