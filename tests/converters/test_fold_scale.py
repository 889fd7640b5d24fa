"""Folding: the same function with fewer layers, and only where nobody else reads what disappears."""

from __future__ import annotations

import pytest
import torch

from rlossctl.converters.folding.scale import fold_scale
from rlossctl.net import Net
from rlossctl.net.deploy import Deploy

HEAD = 'input: "x" input_shape { dim: 2 dim: 4 dim: 9 dim: 11 }\n'


def layer(name: str, kind: str, bottom: str, top: str, param: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {param} }}\n'


CONV = "convolution_param { num_output: 6 kernel_size: 3 pad: 1 bias_term: false }"
GROUPS = "convolution_param { num_output: 6 kernel_size: 3 group: 2 }"
INNER = "inner_product_param { num_output: 5 }"
TURNED = "inner_product_param { num_output: 5 transpose: true bias_term: false }"
NORM = "batch_norm_param { use_global_stats: true }"
SCALE = "scale_param { bias_term: true }"
CHAIN = layer("bn", "BatchNorm", "y", "y", NORM) + layer("scale", "Scale", "y", "y", SCALE)
APART = layer("bn", "BatchNorm", "y", "z", NORM) + layer("scale", "Scale", "z", "u", SCALE)
INFERENCE = layer("bn", "BN", "y", "z", "bn_param { bn_mode: INFERENCE }")
BIAS = layer("scale", "Scale", "y", "z") + layer("bias", "Bias", "z", "z")


@torch.no_grad()
def randomized(build, text: str) -> Net:
    net = build(HEAD + text, "TEST")
    generator = torch.Generator().manual_seed(0)
    for blob in (blob for entry in net.layers for blob in entry.module.blobs):
        blob.copy_(torch.rand(blob.shape, generator=generator) + 0.25)
    return net


@torch.no_grad()
def folded(build, text: str, outputs: list[str] | None = None) -> tuple[list[str], int, Deploy]:
    """Names of the layers that are left, and how many went; the two functions are compared."""
    deploy = Deploy(randomized(build, text), outputs).eval()
    before = [blob.detach().clone() for blob in deploy.parameters()]
    part, into = fold_scale(deploy)
    image = torch.randn(deploy.input_shape, generator=torch.Generator().manual_seed(1))
    for found, expected in zip(part(image), deploy(image), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-6 * float(expected.abs().max()))
    assert all(map(torch.equal, before, deploy.parameters())), "the net's own weights are left alone"
    return [entry.name for entry in part.layers], len(into), part


@pytest.mark.parametrize("chain", [CHAIN, APART, INFERENCE, BIAS], ids=["in place", "apart", "BN", "bias"])
@pytest.mark.parametrize(
    "linear",
    [("Convolution", CONV), ("Convolution", GROUPS), ("Deconvolution", GROUPS)],
    ids=["convolution", "groups", "deconvolution"],
)
def test_chains_disappear(build, linear, chain):
    left, _, _ = folded(build, layer("y", linear[0], "x", "y", linear[1]) + chain)
    assert len(left) == 1


@pytest.mark.parametrize("param", [INNER, TURNED])
def test_inner_products_take_them_up(build, param):
    left, count, _ = folded(build, layer("y", "InnerProduct", "x", "y", param) + CHAIN)
    assert (left, count) == (["scale"], 2)


def test_what_another_layer_reads_stays(build):
    text = layer("y", "Convolution", "x", "y", CONV) + APART + layer("r", "ReLU", "z", "r")
    left, count, _ = folded(build, text, ["u", "r"])
    assert left == ["bn", "scale", "r"] and count == 1, "only the BatchNorm, whose result is read twice"


def test_outputs_stay(build):
    left, count, _ = folded(build, layer("y", "Convolution", "x", "y", CONV) + APART, ["u", "y"])
    assert left == ["y", "bn", "scale"] and count == 0


def test_statistics_of_the_batch_stay(build):
    norm = layer("bn", "BatchNorm", "y", "y", "batch_norm_param { use_global_stats: false }")
    deploy = Deploy(randomized(build, layer("y", "Convolution", "x", "y", CONV) + norm))
    assert fold_scale(deploy)[1] == {}


@torch.no_grad()
def test_statistics_gathered_by_passes(build):
    """Sums that a scale divides, means far from 0, small variances, and a channel that is always the same."""
    text = (
        layer("y", "Convolution", "x", "y", CONV)
        + layer("bn", "BatchNorm", "y", "y")
        + layer("scale", "Scale", "y", "y", SCALE)
    )
    train = build(HEAD + text, "TRAIN")
    weights, norm = train.params["y"][0], train.params["bn"]
    generator = torch.Generator().manual_seed(5)
    weights.data.copy_(torch.randn(weights.shape, generator=generator))
    weights.data[0] = 0
    for _ in range(20):
        image = torch.randn(train.shapes["x"], generator=generator) * 40 + torch.tensor(90.0)
        image[:, 1] = image[:, 1] * 1e-3
        train.forward_blobs(x=image)
    assert norm[2].item() == pytest.approx(sum(0.999**n for n in range(20)))
    assert norm[1][0] == 0 and norm[0].abs().max() > 500

    test = build(HEAD + text, "TEST")
    for name, blobs in train.params.items():
        for blob, value in zip(test.params[name], blobs, strict=True):
            blob.data.copy_(value)
    deploy = Deploy(test).eval()
    part, into = fold_scale(deploy)
    assert into == {"y": "scale", "bn": "scale"}
    for found, expected in zip(part(image), deploy(image), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_scales_along_other_axes_stay(build):
    scale = layer("scale", "Scale", "y", "y", "scale_param { axis: 2 num_axes: 1 }")
    assert folded(build, layer("y", "Convolution", "x", "y", CONV) + scale)[1] == 0


def test_shared_weights_with_the_same_scale_stay_shared_and_others_part(build):
    shared = 'param { name: "w" } ' + CONV
    scales = 'param { name: "s" } param { name: "b" } ' + SCALE
    text = "".join(
        layer(f"c{n}", "Convolution", "x", f"y{n}", shared)
        + layer(f"s{n}", "Scale", f"y{n}", f"y{n}", scales)
        for n in (1, 2)
    )
    text += layer("c3", "Convolution", "x", "y3", shared) + layer("s3", "Scale", "y3", "y3", SCALE)
    left, count, part = folded(build, text, ["y1", "y2", "y3"])
    assert (left, count) == (["s1", "s2", "s3"], 3)
    first, second, third = (entry.module.blobs[0] for entry in part.layers)
    assert first is second and first is not third
