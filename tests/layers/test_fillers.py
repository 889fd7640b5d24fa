"""Fillers: the distributions of Caffe's filler.hpp."""

from __future__ import annotations

import math

import pytest
import torch
from google.protobuf import text_format

from rlossctl.errors import NetError
from rlossctl.net.fillers import fill
from rlossctl.prototxt.messages import FillerParameter

SHAPE = (40, 30, 5, 4)
FAN_IN, FAN_OUT = 30 * 5 * 4, 40 * 5 * 4


def filled(text: str, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    torch.manual_seed(0)
    blob = torch.full(shape, float("nan"))
    fill(blob, text_format.Parse(text, FillerParameter()), "layer 'l'")
    return blob


def test_no_filler_gives_zeros():
    blob = torch.ones(3)
    fill(blob, None, "layer 'l'")
    assert blob.tolist() == [0, 0, 0]


def test_constant_is_the_default_type():
    assert filled("value: 2.5").unique().tolist() == [2.5]
    assert filled("").unique().tolist() == [0]


def test_uniform():
    blob = filled('type: "uniform" min: -2 max: 1')
    assert -2 <= blob.min() < -1.99 and 0.99 < blob.max() <= 1
    assert blob.mean().item() == pytest.approx(-0.5, abs=0.02)


def test_gaussian():
    blob = filled('type: "gaussian" mean: 3 std: 0.5')
    assert blob.mean().item() == pytest.approx(3, abs=0.02)
    assert blob.std().item() == pytest.approx(0.5, abs=0.01)


def test_sparse_gaussian_keeps_that_many_values_per_output():
    blob = filled('type: "gaussian" std: 1 sparse: 4')
    assert (blob != 0).double().mean().item() == pytest.approx(4 / SHAPE[0], abs=0.01)
    assert blob[blob != 0].std().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("norm", "fan"), [("FAN_IN", FAN_IN), ("FAN_OUT", FAN_OUT), ("AVERAGE", (FAN_IN + FAN_OUT) / 2)]
)
def test_xavier_and_msra_scale_with_the_fan(norm, fan):
    xavier = filled(f'type: "xavier" variance_norm: {norm}')
    bound = math.sqrt(3 / fan)
    assert xavier.abs().max().item() == pytest.approx(bound, rel=1e-3)
    assert xavier.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    msra = filled(f'type: "msra" variance_norm: {norm}')
    assert msra.std().item() == pytest.approx(math.sqrt(2 / fan), rel=0.02)
    assert msra.mean().item() == pytest.approx(0, abs=0.01 * math.sqrt(2 / fan) * 2)


def test_positive_unitball_sums_to_one_per_output():
    blob = filled('type: "positive_unitball"', (6, 50))
    torch.testing.assert_close(blob.sum(1), torch.ones(6))
    assert (blob > 0).all()


def test_bilinear_is_the_upsampling_kernel():
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(filled('type: "bilinear"', (2, 1, 4, 4))[1, 0], line[:, None] * line[None, :])
    odd = filled('type: "bilinear"', (1, 1, 3, 3))[0, 0]
    line = torch.tensor([0.5, 1, 0.5])
    torch.testing.assert_close(odd, line[:, None] * line[None, :])


def test_bilinear_refuses_other_shapes():
    with pytest.raises(NetError, match="square 4-D") as caught:
        filled('type: "bilinear"', (2, 1, 4, 3))
    assert caught.value.where == "layer 'l'"


def test_unknown_type_lists_the_known_ones():
    with pytest.raises(NetError, match="unknown filler") as caught:
        filled('type: "orthogonal"')
    assert caught.value.found == "orthogonal" and "msra" in caught.value.expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('type: "gaussian" std: -1', "std: -1"),
        ('type: "gaussian" std: nan', "std: nan"),
        ('type: "uniform" min: 2 max: 1', "min: 2, max: 1"),
        ('type: "uniform" min: nan', "min: nan, max: 1"),
        ('type: "uniform" min: -3e38 max: 3e38', "min: -3e+38, max: 3e+38"),
    ],
)
def test_numbers_that_give_no_distribution(text, found):
    with pytest.raises(NetError, match="filler needs") as caught:
        filled(text)
    assert caught.value.where == "layer 'l'" and caught.value.found == found


@pytest.mark.parametrize("kind", ["constant", "uniform", "gaussian", "positive_unitball", "xavier", "msra"])
@pytest.mark.parametrize("norm", ["FAN_IN", "FAN_OUT", "AVERAGE"])
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 0), (1,)])
def test_blobs_without_axes_or_values(kind, norm, shape):
    """A blob without axes counts as one output (Blob::num); in an empty one there is nothing to fill."""
    blob = filled(f'type: "{kind}" sparse: 1 variance_norm: {norm}', shape)
    assert blob.shape == shape and blob.isfinite().all()
