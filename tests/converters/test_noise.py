"""What a lower precision adds to each blob, and how few layers must do without it."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import rlossctl
from rlossctl.converters import OnnxOptions
from rlossctl.converters.onnx.fewest import fewest
from rlossctl.converters.onnx.noise import lines, measure, most_harmful_first, worst_first
from rlossctl.converters.verifying.trials import Trial
from rlossctl.data.modelcard import KEY, ModelCard
from rlossctl.errors import NetError, UsageError


@pytest.fixture
def models(material, tmp_path):
    """The small net's graph, the same with rounded weights in twin_a and twin_b (shared), and its blobs."""
    path = tmp_path / "m.onnx"
    options = OnnxOptions(verify=False)
    rlossctl.convert(
        material.test, material.weights, path, placeholders=material.settings, onnx_options=options
    )
    model, rounded = onnx.load(path), onnx.load(path)
    (name,) = {node.input[1] for node in model.graph.node if node.name in ("twin_a", "twin_b")}
    (weight,) = [entry for entry in rounded.graph.initializer if entry.name == name]
    half = numpy_helper.to_array(weight).astype(np.float16).astype(np.float32)
    weight.CopyFrom(numpy_helper.from_array(half, name))
    card = ModelCard.from_json(model.metadata_props[0].value)
    assert model.metadata_props[0].key == KEY
    return model, rounded, card.blobs


def test_only_the_layers_that_differ_make_noise_and_later_ones_pass_it_on(models):
    image = np.random.default_rng(0).standard_normal((1, 3, 33, 33)).astype(np.float32)
    found = {entry.blob: entry for entry in measure(*models, [Trial("t", image)])}
    assert worst_first(found.values()) in (["twin_a", "twin_b"], ["twin_b", "twin_a"])
    assert found["pool1"].whole == found["concat"].alone == math.inf
    assert 50 < found["twin_b@twin_b"].whole < found["twin_b@twin_b"].alone < 90, "half precision: 2^-11"
    assert found["up"].whole < 90
    first, *rows = lines(list(found.values()), "fp16")
    assert "2 layers" in first and len(rows) == 2 and rows[0].split()[0] in ("twin_a", "twin_b")


def test_layers_are_ranked_by_what_their_noise_does_to_the_output(models):
    model, rounded, blobs = models
    image = np.random.default_rng(0).standard_normal((1, 3, 33, 33)).astype(np.float32)
    assert set(most_harmful_first(model, rounded, blobs, Trial("t", image))) == {"twin_a", "twin_b"}
    (node,) = [node for node in rounded.graph.node if node.name == "scale1"]
    node.input[1] = "less"  # a shift that is wrong, early in the net
    (shift,) = [entry for entry in model.graph.initializer if entry.name.endswith("scale1/1")]
    rounded.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(shift) * 1.5, "less"))
    assert most_harmful_first(model, rounded, blobs, Trial("t", image))[0] == "scale1"


@pytest.mark.parametrize(("allowed", "kept"), [(10, ""), (4, "ab"), (1, "abcde"), (0.5, "abcdef")])
def test_as_few_layers_as_the_loss_takes(allowed, kept):
    asked = []

    def loss(layers):
        asked.append(layers)
        return 6 - len(layers) + (0.5 if len(layers) == 6 else 0)

    assert "".join(fewest("abcdef", loss, allowed)) == kept
    assert len(asked) <= 5


def test_a_loss_that_no_choice_avoids_is_an_error():
    with pytest.raises(NetError, match="even with all layers in float32") as caught:
        fewest("abc", lambda layers: 2.0, 1)
    assert caught.value.found == "2"


def test_the_option_is_for_int8():
    with pytest.raises(UsageError, match="--int8-auto is for int8"):
        OnnxOptions(auto=1.0)
