"""SoftmaxWithLoss and DenseCRFLoss where no recording exists: bad labels, empty batches, default weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError
from rlossctl.losses import LossInputWarning, caffe_mask, densecrf_loss

INPUTS = """
input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
input: "t" input_shape { dim: 2 dim: 1 dim: 4 dim: 5 }
"""
SOFTMAX = INPUTS + 'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "t" %s }\n'
CRF = """
input: "data" input_shape { dim: 1 dim: 3 dim: 6 dim: 8 }
input: "seg" input_shape { dim: 1 dim: 2 dim: 6 dim: 8 }
layer { name: "crf" type: "DenseCRFLoss" bottom: "data" bottom: "seg" top: "crf" %s
  densecrf_loss_param { bi_xy_std: 4 bi_rgb_std: 20 } }
"""


def scores() -> torch.Tensor:
    return torch.randn((2, 3, 4, 5), generator=torch.Generator().manual_seed(0), requires_grad=True)


@pytest.mark.parametrize("label", [3, 254, -1])
def test_label_out_of_range_names_layer_and_ids(build, label):
    net = build(SOFTMAX % 'top: "loss" loss_param { ignore_label: 255 }', where="train.prototxt")
    labels = torch.zeros((2, 1, 4, 5))
    labels[1, 0, 2, 3] = label
    with pytest.raises(NetError, match="label ids out of range") as caught:
        net(x=scores(), t=labels)
    assert "layer 'l' (SoftmaxWithLoss)" in str(caught.value) and caught.value.where == "train.prototxt:4"
    assert caught.value.found == str(label)
    assert caught.value.expected == "0 to 2, or the ignore label 255"


def test_255_without_an_ignore_label_is_out_of_range(build):
    net = build(SOFTMAX % 'top: "loss"')
    with pytest.raises(NetError) as caught:
        net(x=scores(), t=torch.full((2, 1, 4, 5), 255.0))
    assert caught.value.expected == "0 to 2"


@pytest.mark.parametrize("normalization", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
def test_all_ignored_batch_gives_zero_and_no_nan(build, normalization):
    net = build(SOFTMAX % f'top: "loss" loss_param {{ ignore_label: 255 normalization: {normalization} }}')
    x = scores()
    result = net.run({"x": x, "t": torch.full((2, 1, 4, 5), 255.0)})
    result.loss.backward()
    assert result.loss.item() == 0 and result.outputs["loss"].item() == 0
    assert (x.grad == 0).all()


def test_value_stops_at_the_smallest_float_and_the_gradient_does_not(build):
    net = build(SOFTMAX % 'top: "loss" loss_param { normalization: FULL }')
    x = torch.zeros((2, 3, 4, 5))
    x[:, 0] = 1000
    x.requires_grad_()
    loss = net.run({"x": x, "t": torch.ones((2, 1, 4, 5))}).loss
    loss.backward()
    assert loss.item() == pytest.approx(87.3365, abs=1e-3)  # -log(FLT_MIN)
    torch.testing.assert_close(x.grad[:, 1], torch.full((2, 4, 5), -1 / 40))


def test_second_top_is_the_probabilities(build):
    net = build(SOFTMAX % 'top: "loss" top: "p" loss_weight: 2 loss_weight: 0')
    x = scores()
    result = net.run({"x": x, "t": torch.zeros((2, 1, 4, 5))})
    torch.testing.assert_close(result.outputs["p"], torch.softmax(x, 1).detach())
    torch.testing.assert_close(result.loss, 2 * result.outputs["loss"])


def test_fractions_of_labels_are_cut_off(build):
    net = build(SOFTMAX % 'top: "loss"')
    x = scores().detach()
    whole, fraction = torch.ones((2, 1, 4, 5)), torch.full((2, 1, 4, 5), 1.9)
    assert net(x=x, t=whole)["loss"] == net(x=x, t=fraction)["loss"]


def test_wrong_number_of_labels(build):
    text = (SOFTMAX % 'top: "loss"').replace("dim: 2 dim: 1 dim: 4 dim: 5", "dim: 2 dim: 1 dim: 4 dim: 4")
    with pytest.raises(NetError, match="one label per position") as caught:
        build(text)
    assert "Interp" in caught.value.advice


def crf_inputs() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    data = torch.randint(-100, 100, (1, 3, 6, 8), generator=generator).float()
    data[..., 5:] = 0  # padding
    seg = torch.rand((1, 2, 6, 8), generator=generator).softmax(1).requires_grad_()
    return {"data": data, "seg": seg}


def test_densecrf_loss_counts_only_with_a_loss_weight(build):
    inputs = crf_inputs()
    silent = build(CRF % "").run(inputs)
    assert silent.loss.item() == 0 and silent.losses == {} and silent.outputs["crf"].item() < 0
    weighted = build(CRF % "loss_weight: 0.5").run(inputs)
    assert weighted.loss.item() == pytest.approx(0.5 * silent.outputs["crf"].item())
    assert silent.outputs["crf"].shape == (1, 1, 1, 1)


def test_densecrf_loss_leaves_out_padding(build):
    inputs = crf_inputs()
    net = build(CRF % "loss_weight: 1")
    net.run(inputs).loss.backward()
    gradient = inputs["seg"].grad
    assert (gradient[..., 5:] == 0).all() and (gradient[..., :5] < 0).all()
    mask = torch.zeros((1, 1, 6, 8))
    mask[..., :5] = 1
    expected = densecrf_loss(inputs["data"], inputs["seg"], mask, 4, 20)
    torch.testing.assert_close(net.run(inputs).loss, expected)


def test_a_pixel_within_one_of_the_mean_in_every_channel_is_padding_too(build):
    inputs = crf_inputs()
    inputs["data"][0, :, 2, 2] = torch.tensor([0.9, -0.9, 0.5])
    inputs["data"][0, :, 3, 3] = torch.tensor([0.9, -1.0, 0.5])
    build(CRF % "loss_weight: 1").run(inputs).loss.backward()
    gradient = inputs["seg"].grad
    assert (gradient[0, :, 2, 2] == 0).all() and (gradient[0, :, 3, 3] != 0).all()


def test_densecrf_loss_gives_no_gradient_to_the_image(build):
    inputs = crf_inputs()
    inputs["data"].requires_grad_()
    build(CRF % "loss_weight: 1").run(inputs).loss.backward()
    assert inputs["data"].grad is None
    with pytest.raises(NetError, match="no gradient to the image"):
        build(CRF % "propagate_down: true propagate_down: true")


def test_densecrf_loss_needs_one_size(build):
    with pytest.raises(NetError, match="same batch size, height and width") as caught:
        build((CRF % "").replace("dim: 2 dim: 6", "dim: 2 dim: 3"))
    assert "Interp" in caught.value.advice


@pytest.mark.parametrize("mode", ["LATTICE", "SYMMETRIC", "EXACT"])
def test_densecrf_loss_takes_its_mode_from_the_prototxt(build, mode):
    inputs = crf_inputs()
    net = build((CRF % "loss_weight: 0.5").replace("bi_rgb_std: 20", f"bi_rgb_std: 20 mode: {mode}"))
    image, seg = inputs["data"], inputs["seg"]
    expected = 0.5 * densecrf_loss(image, seg, caffe_mask(image), 4, 20, mode.lower())
    assert net.run(inputs).loss.item() == pytest.approx(expected.item())


def test_densecrf_warns_of_an_image_that_is_scaled_with_its_place(build):
    net = build(CRF % "loss_weight: 1", where="train.prototxt")
    image = torch.rand((1, 3, 6, 8), generator=torch.Generator().manual_seed(0)) * 9
    seg = torch.full((1, 2, 6, 8), 0.5)
    place = r"train\.prototxt:4: layer 'crf' \(DenseCRFLoss\): the image's values span 8.*\(bi_rgb_std 20\)"
    with pytest.warns(LossInputWarning, match=place):
        net(data=image, seg=seg)
    net(data=image, seg=seg)  # warnings are errors here: each comes once


WEIGHTED = "class_weighting: 0.5 class_weighting: 2 class_weighting: 3 weight_by_label_freqs: true"


def labels_with_ignored() -> torch.Tensor:
    labels = torch.randint(0, 3, (2, 1, 4, 5), generator=torch.Generator().manual_seed(1)).float()
    labels[0, 0, :2] = 255
    return labels


@pytest.mark.parametrize("dialect", ["bvlc", "rloss", "segnet", "enet"])
def test_normalization_by_the_sum_of_the_weights(build, dialect):
    """sum w[y] nll / sum w[y] over the positions that are not ignored: torch's cross_entropy with weights."""
    text = SOFTMAX % f'top: "loss" loss_param {{ ignore_label: 255 normalization: WEIGHTS {WEIGHTED} }}'
    net = build(text, dialect=dialect)
    x, t = scores(), labels_with_ignored()
    loss = net.run({"x": x, "t": t}).loss
    loss.backward()
    again = x.detach().clone().requires_grad_()
    expected = torch.nn.functional.cross_entropy(
        again, t[:, 0].long(), weight=torch.tensor([0.5, 2.0, 3.0]), ignore_index=255
    )
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(x.grad, again.grad)


def test_without_weights_it_is_the_number_of_pixels(build):
    values = [
        build(SOFTMAX % f'top: "loss" loss_param {{ ignore_label: 255 normalization: {name} }}')
        .run({"x": scores(), "t": labels_with_ignored()})
        .loss
        for name in ("WEIGHTS", "VALID")
    ]
    assert torch.equal(*values)


@pytest.mark.parametrize("label", [255, 0])
def test_weights_with_the_sum_0_give_0(build, label):
    zeros = "class_weighting: 0 class_weighting: 2 class_weighting: 3 weight_by_label_freqs: true"
    net = build(SOFTMAX % f'top: "loss" loss_param {{ ignore_label: 255 normalization: WEIGHTS {zeros} }}')
    x = scores()
    result = net.run({"x": x, "t": torch.full((2, 1, 4, 5), float(label))})
    result.loss.backward()
    assert result.loss.item() == 0
    assert (x.grad == 0).all()


def test_normalization_by_weights_against_the_recording(build, shared):
    path = shared / "golden" / "losses" / "segmentation" / "ce_weighted.npz"
    if not path.is_file():
        pytest.skip("the recorded losses are not there")
    with np.load(path) as case:
        logits, label = torch.from_numpy(case["in/logits"]), torch.from_numpy(case["in/label"])
        weights = " ".join(f"class_weighting: {float(value)!r}" for value in case["in/class_weight"])
        n, classes, height, width = logits.shape
        sizes = f"dim: {n} dim: %d dim: {height} dim: {width}"
        net = build(
            f'input: "x" input_shape {{ {sizes % classes} }} input: "t" input_shape {{ {sizes % 1} }}\n'
            'layer { name: "l" type: "SoftmaxWithLoss" bottom: "x" bottom: "t" top: "loss" loss_param {\n'
            f"ignore_label: 255 normalization: WEIGHTS weight_by_label_freqs: true {weights} }} }}"
        )
        logits.requires_grad_()
        loss = net.run({"x": logits, "t": label.unsqueeze(1).float()}).loss
        loss.backward()
        assert loss.item() == pytest.approx(float(case["out/loss"]), rel=1e-6)
        torch.testing.assert_close(logits.grad, torch.from_numpy(case["grad/logits"]), rtol=1e-4, atol=1e-8)


def test_other_losses_have_no_weights_to_divide_by(build):
    text = (
        SOFTMAX.replace("SoftmaxWithLoss", "InfogainLoss")
        % 'top: "loss" loss_param { normalization: WEIGHTS }'
    )
    with pytest.raises(NetError, match="has no class weights to divide by"):
        build(text)
