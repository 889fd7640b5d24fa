"""Losses of scores against labels where no recording exists: files, dialects, limits, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError, WeightsError
from rlossctl.prototxt.messages import BlobProto

SCORES = 'input: "x" input_shape { dim: 4 dim: 3 } input: "t" input_shape { dim: 4 }\n'
INFOGAIN = SCORES + 'layer { name: "l" type: "InfogainLoss" bottom: "x" bottom: "t" top: "loss" %s }\n'
# A layer that only the rloss fork has makes the net the fork's.
FORK = (
    'input: "y" input_shape { dim: 1 dim: 1 dim: 3 dim: 3 }\n'
    'layer { name: "up" type: "Interp" bottom: "y" top: "up" interp_param { zoom_factor: 2 } }\n'
)
LABELS = torch.tensor([0.0, 2.0, 1.0, 2.0])


def scores() -> torch.Tensor:
    return torch.randn((4, 3), generator=torch.Generator().manual_seed(0), requires_grad=True)


@pytest.fixture
def gains(tmp_path):
    """An infogain matrix, and the file that holds it as Caffe would."""
    matrix = np.arange(9, dtype=np.float32).reshape(3, 3) / 8
    blob = BlobProto()
    blob.num, blob.channels, blob.height, blob.width = 1, 1, 3, 3
    blob.data.extend(matrix.ravel().tolist())
    path = tmp_path / "gains.binaryproto"
    path.write_bytes(blob.SerializeToString())
    return torch.tensor(matrix), path


def test_infogain_matrix_from_a_file(build, gains):
    matrix, path = gains
    x = scores()
    loss = build(INFOGAIN % f'infogain_loss_param {{ source: "{path}" }}').run({"x": x, "t": LABELS}).loss
    loss.backward()
    mirror = x.detach().requires_grad_()
    expected = -(matrix[LABELS.long()] * mirror.log_softmax(1)).sum() / 4
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(x.grad, mirror.grad)


def test_infogain_of_the_forks_takes_probabilities(build, gains):
    matrix, path = gains
    p = scores().detach().softmax(1).requires_grad_()
    net = build(INFOGAIN % f'infogain_loss_param {{ source: "{path}" }}' + FORK)
    loss = net.run({"x": p, "t": LABELS, "y": torch.zeros(1, 1, 3, 3)}).loss
    loss.backward()
    rows = matrix[LABELS.long()]
    torch.testing.assert_close(loss, -(rows * p.log()).sum() / 4)
    torch.testing.assert_close(p.grad, -rows / p.detach() / 4)


def test_infogain_all_ignored_gives_zero(build, gains):
    net = build(INFOGAIN % f'infogain_loss_param {{ source: "{gains[1]}" }} loss_param {{ ignore_label: 9 }}')
    x = scores()
    loss = net.run({"x": x, "t": torch.full((4,), 9.0)}).loss
    loss.backward()
    assert loss.item() == 0 and (x.grad == 0).all()


def test_infogain_needs_a_matrix_that_fits(build, gains, tmp_path):
    with pytest.raises(NetError, match="no infogain matrix"):
        build(INFOGAIN % "")
    with pytest.raises(NetError, match="does not take `normalize`"):
        build(INFOGAIN % 'infogain_loss_param { source: "x" } loss_param { normalize: true }')
    absent = build(INFOGAIN % f'infogain_loss_param {{ source: "{tmp_path}/absent" }}')
    with pytest.raises(WeightsError, match="cannot be read"):
        absent(x=scores(), t=LABELS)
    text = INFOGAIN % f'infogain_loss_param {{ source: "{gains[1]}" }}'
    net = build(text.replace("dim: 4 dim: 3", "dim: 4 dim: 5"))
    with pytest.raises(NetError, match="does not match the scores") as caught:
        net(x=torch.zeros(4, 5), t=LABELS)
    assert "gains.binaryproto" in caught.value.found and caught.value.expected == "(1, 1, 5, 5)"


def test_probability_zero_counts_as_1e_20_and_its_gradient_stays_finite(build):
    net = build(
        SCORES + 'layer { name: "l" type: "MultinomialLogisticLoss" bottom: "x" bottom: "t" top: "loss" }'
    )
    p = torch.zeros((4, 3), requires_grad=True)
    loss = net.run({"x": p, "t": LABELS}).loss
    loss.backward()
    assert loss.item() == pytest.approx(46.0517, abs=1e-3)  # -log(1e-20)
    assert p.grad[1, 2].item() == pytest.approx(-0.25e20)


@pytest.mark.parametrize("kind", ['type: "HingeLoss"', 'type: "MultinomialLogisticLoss"'])
def test_class_id_out_of_range(build, kind):
    net = build(SCORES + f'layer {{ name: "l" {kind} bottom: "x" bottom: "t" top: "loss" }}')
    with pytest.raises(NetError, match="label ids out of range") as caught:
        net(x=scores(), t=torch.tensor([0.0, 1.0, 3.0, 0.0]))
    assert caught.value.found == "3" and caught.value.expected == "0 to 2"


SIGMOID = (
    'input: "x" input_shape { dim: 4 dim: 3 } input: "t" input_shape { dim: 4 dim: 3 }\n'
    'layer { name: "l" type: "SigmoidCrossEntropyLoss" bottom: "x" bottom: "t" top: "loss" %s }\n'
)
IGNORE = "loss_param { ignore_label: 1 normalization: VALID }"


def test_sigmoid_cross_entropy_of_the_fork_ignores_nothing_and_divides_by_the_batch(build):
    inputs = {"x": scores(), "t": torch.ones(4, 3)}
    bvlc = build(SIGMOID % IGNORE).run(inputs).loss
    fork = build(SIGMOID % IGNORE + FORK).run(inputs | {"y": torch.zeros(1, 1, 3, 3)}).loss
    assert bvlc.item() == 0
    torch.testing.assert_close(fork, torch.nn.functional.softplus(-inputs["x"]).sum() / 4)


def test_targets_are_cut_off_before_they_are_compared_with_the_ignore_label(build):
    net = build(SIGMOID % "loss_param { ignore_label: 0 }")
    assert net.run({"x": scores(), "t": torch.full((4, 3), 0.9)}).loss.item() == 0


def test_sizes_that_differ(build):
    with pytest.raises(NetError, match="same batch size and count"):
        build((SIGMOID % "").replace('"t" input_shape { dim: 4 dim: 3', '"t" input_shape { dim: 4 dim: 2'))


BALANCED = (
    'input: "x" input_shape { dim: 3 dim: 6 } input: "t" input_shape { dim: 3 dim: 6 } layer { name: "l" '
    'type: "SigmoidCrossEntropyLoss" bottom: "x" bottom: "t" top: "loss" loss_param { %s } }'
)


@pytest.mark.proves("SigmoidCrossEntropyLoss", gradient=True)
@pytest.mark.parametrize("factor", [1.0, 1.1])
def test_the_balanced_loss_of_hed_and_rcf(build, factor):
    """Value by value, as in the forks: a sample of both kinds, one without ones, one of neither."""
    targets = torch.tensor([[1.0, 0, 0, 1, 0, 0.3], [0, 0, 0, 0, 0, 0], [2, 2, 0.4, 2, 2, 2]])
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected, gradient = 0.0, torch.zeros(3, 6, dtype=torch.float64)
    for i in range(3):
        ones, zeros = int((targets[i] == 1).sum()), int((targets[i] == 0).sum())
        for j in range(6):
            p = x[i, j].sigmoid()
            if targets[i, j] == 1:
                expected -= float(p.log()) * zeros / (ones + zeros) / 3
                gradient[i, j] = (p - 1) * zeros / (ones + zeros) / 3
            elif targets[i, j] == 0:
                expected -= float((1 - p).log()) * factor * ones / (ones + zeros) / 3
                gradient[i, j] = p * factor * ones / (ones + zeros) / 3
    scores = x.float().requires_grad_()
    net = build(BALANCED % f"balanced: true negative_weight: {factor}")
    loss = net.run({"x": scores, "t": targets}).loss
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(scores.grad, gradient.float())


def test_the_balanced_loss_refuses_fields_that_would_not_count(build):
    with pytest.raises(NetError, match="does not go by ignore_label with balanced: true"):
        build(BALANCED % "balanced: true ignore_label: 2")
    with pytest.raises(NetError, match="does not go by negative_weight without balanced: true"):
        build(BALANCED % "negative_weight: 1.1")
