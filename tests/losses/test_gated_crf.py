"""The Gated CRF loss: the original's values and gradients, its relatives, and what no input may break."""

from __future__ import annotations

import json

import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d

from rlossctl.bilateral import bilateral_filter, dispatch
from rlossctl.errors import NetError
from rlossctl.losses import GatedCRFLoss, GatedKernel, LossInputWarning, densecrf_loss, gated_crf_loss
from rlossctl.losses.gated_ops import crf_op, filter_op

NET = """input: "image" input_shape { dim: 2 dim: 3 dim: 8 dim: 12 }
input: "p" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
input: "s" input_shape { dim: 2 dim: %d dim: 8 dim: 10 }
input: "t" input_shape { dim: 2 dim: 1 dim: 4 dim: 5 }
layer { name: "l" type: "GatedCRFLoss" bottom: "image" bottom: "p" %s top: "loss" loss_weight: 0.1 %s }
"""
SHAPES = [(2, 3, 4, 5), (2, 1, 3, 3), (1, 2, 1, 7), (2, 21, 5, 1), (1, 150, 2, 2), (1, 3, 1, 1)]
CASES = [
    "all_zero_dst",
    "all_zero_src",
    "both_masks",
    "compat_potts_fixed",
    "compat_random_fixed",
    "compat_random_masks_fixed",
    "dst_mask_only",
    "full_masks",
    "full_resolution_odd",
    "hard_labels",
    "mask_on_grid_fractions",
    "one_class",
    "one_column",
    "one_row",
    "potts_default_quarter",
    "potts_two_kernels",
    "potts_two_kernels_r5",
    "radius_1",
    "radius_larger_than_image",
    "rgb_only_no_xy",
    "src_mask_nan",
    "src_mask_padding",
    "src_mask_random",
    "three_kernels_depth",
    "xy_only",
]


def unpacked(case):
    """The image with depth as a further channel, and all arguments behind the probabilities."""
    params, size = json.loads(str(case["params"])), case["in/prob"].shape[2:]
    modalities = [name for name in ("rgb", "depth") if f"in/{name}" in case]
    parts = [torch.from_numpy(case[f"in/{name}"]).double() for name in modalities]
    image = torch.cat([adaptive_avg_pool2d(part, size) for part in parts], 1) if len(parts) > 1 else parts[0]
    kernels = []
    for kernel in params["kernels"]:
        stds = [kernel.get(name, 0.0) for name, part in zip(modalities, parts, strict=True) for _ in part[0]]
        kernels.append(GatedKernel(kernel["weight"], kernel.get("xy", 0.0), tuple(stds)))
    given = [
        torch.from_numpy(case[key]) if key in case else None
        for key in ("in/mask_src", "in/mask_dst", "in/compatibility")
    ]
    return image, {
        "source": given[0],
        "destination": given[1],
        "kernels": kernels,
        "radius": params["radius"],
        "compatibility": given[2],
    }


@pytest.mark.parametrize("kernel", ["", "twin"])
@pytest.mark.parametrize("name", CASES)
def test_recorded(recorded, reproduces, monkeypatch, name, kernel):
    monkeypatch.setenv("RLOSSCTL_BILATERAL", kernel)
    case = recorded("gatedcrf", name)
    image, settings = unpacked(case)
    value = case["out/loss"]
    # The probabilities were rounded to float32 when they were recorded.
    reproduces(
        lambda p: gated_crf_loss(image, p, **settings), case["in/prob"], value, case["grad/prob"], 1e-6
    )
    if "in/logits" in case:
        loss = lambda x: gated_crf_loss(image, x.softmax(1), **settings)  # noqa: E731
        reproduces(loss, case["in/logits"], value, case["grad/logits"])


def test_two_calls_give_the_same_and_change_nothing(recorded):
    """The original divides the image in place, and thresholds the caller's mask."""
    case = recorded("gatedcrf", "inplace_and_compat_defect")
    image, prob, mask = tensors = [
        torch.from_numpy(case[f"in/{name}"]) for name in ("rgb", "prob", "mask_src")
    ]
    before = [tensor.clone() for tensor in tensors]
    calls = [gated_crf_loss(image, prob, mask, radius=2).item() for _ in range(2)]
    assert calls == pytest.approx([float(case["out/loss_masked"])] * 2, rel=1e-5)
    assert all(torch.equal(one, other) for one, other in zip(tensors, before, strict=True))


@pytest.fixture
def photos():
    """photos(N, h, w): float64 images of soft colours, so that pairs weigh something."""

    def make(images, height, width):
        generator = torch.Generator().manual_seed(4)
        return 0.5 * torch.rand(images, 3, height, width, generator=generator, dtype=torch.float64)

    return make


def by_pairs(image, prob, source, destination, kernels, radius, penalty):
    """The definition, pixel by pixel; image and masks have the size of prob [N, C, h, w]."""
    images, _, height, width = prob.shape
    total = 0.0
    places = [(y, x) for y in range(height) for x in range(width)]
    for n in range(images):
        for y, x in places:
            for v, u in places:
                if (y, x) == (v, u) or abs(y - v) > radius or abs(x - u) > radius:
                    continue
                apart = (image[n, :, y, x] - image[n, :, v, u]).square().sum()
                k = sum(
                    one.weight
                    * torch.exp(
                        -apart / (2 * one.image_std**2) - ((y - v) ** 2 + (x - u) ** 2) / (2 * one.xy_std**2)
                    )
                    for one in kernels
                )
                gate = source[n, y, x] * destination[n, v, u]
                total += float(gate * k * penalty(prob[n, :, v, u], prob[n, :, y, x]))
    return total / max(1.0, float(destination.sum()))


@pytest.mark.proves("GatedCRFLoss", gradient=True)
@pytest.mark.parametrize("shape", SHAPES)
def test_formula(draw, photos, shape):
    scores, label = draw(*shape)
    image, source = photos(len(scores), *shape[2:]), (label != 255).double()
    destination = (label % 3 != 1).double()
    kernels = GatedKernel(0.9, 2, 0.1), GatedKernel(0.5, 3, 0.3), GatedKernel(0.2, 1, 0.1)
    matrix = torch.arange(1.0, shape[1] ** 2 + 1).view(shape[1], shape[1]).double().fill_diagonal_(0)
    rows = matrix * (shape[1] - 1) / matrix.sum(1, keepdim=True).clamp(min=1)
    for table, penalty in ((None, lambda p, q: 1 - p @ q), (matrix, lambda p, q: p @ rows @ q)):
        arguments = source, destination, kernels, 2, table
        found = gated_crf_loss(image, scores.softmax(1), *arguments)
        if shape[1] < 100:
            expected = by_pairs(image, scores.softmax(1), source, destination, kernels, 2, penalty)
            assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
        assert torch.autograd.gradcheck(
            lambda x, given=arguments: gated_crf_loss(image, x.softmax(1), *given),
            scores.clone().requires_grad_(),
            fast_mode=True,
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_window_over_the_whole_image_is_the_densecrf_loss(draw, photos, dtype):
    """DenseCRF counts s^T A s with each pixel's pair with itself, Gated CRF k (1 - <p, q>) without."""
    scores, _ = draw(2, 4, 7, 9)
    image, prob = photos(2, 7, 9).to(dtype), scores.softmax(1).to(dtype)
    found = gated_crf_loss(image, prob, kernels=[GatedKernel(1, 6, 0.1)], radius=9) * (2 * 7 * 9)
    dense = 2 * densecrf_loss(image, prob, torch.ones(2, 7, 9), 6, 0.1, "exact")
    pairs = bilateral_filter(torch.ones_like(prob[:, :1]), image, 6, 0.1, "exact").sum()
    expected = (pairs - 2 * 7 * 9) + dense + prob.square().sum()
    assert found.item() == pytest.approx(expected.item(), rel=1e-9 if dtype == torch.float64 else 1e-5)


def test_potts_as_a_matrix_is_potts(draw, photos):
    scores, label = draw(2, 5, 4, 6)
    prob, mask = scores.softmax(1), label != 255
    potts = torch.ones(5, 5).fill_diagonal_(0)
    expected = gated_crf_loss(photos(2, 4, 6), prob, mask)
    for matrix in (potts, 7 * potts):
        assert gated_crf_loss(photos(2, 4, 6), prob, mask, compatibility=matrix).item() == pytest.approx(
            expected.item(), rel=1e-12
        )


def test_one_label_everywhere_costs_nothing(photos):
    prob = torch.zeros(1, 3, 6, 20)
    prob[:, 1] = 1
    assert gated_crf_loss(photos(1, 6, 20).float(), prob).item() == 0


@pytest.mark.parametrize("compatibility", [None, [[0.0, 1, 2], [2, 0, 1], [0, 1, 0]]])
def test_empty_masks_are_zero_with_a_graph(draw, photos, compatibility):
    scores, _ = draw(2, 3, 4, 5)
    empty = torch.zeros(2, 4, 5)
    for masks in ((empty, None), (None, empty), (empty, empty)):
        x = scores.clone().requires_grad_()
        loss = gated_crf_loss(photos(2, 4, 5), x.softmax(1), *masks, compatibility=compatibility)
        loss.backward()
        assert loss.item() == 0 and not x.grad.any()


def test_gates(draw, photos):
    """Pixels that neither send nor receive get no gradient; those that do one of both get some."""
    scores, _ = draw(1, 3, 4, 6)
    prob = scores.softmax(1).requires_grad_()
    source, destination = torch.zeros(1, 4, 6), torch.zeros(1, 4, 6)
    source[..., :2] = destination[..., 2:4] = 1
    gated_crf_loss(photos(1, 4, 6), prob, source, destination).backward()
    assert prob.grad[..., :4].all() and not prob.grad[..., 4:].any()


def test_a_matrix_and_masks_have_a_direction(draw, photos):
    """Moved from source to destination, the penalties are those of the transpose, its rows scaled anew."""
    scores, label = draw(1, 2, 3, 4)
    first, second = (label % 2).double(), ((label + 1) % 2).double()
    matrix = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    forward = gated_crf_loss(photos(1, 3, 4), scores.softmax(1), first, second, compatibility=matrix)
    back = gated_crf_loss(photos(1, 3, 4), scores.softmax(1), second, first, compatibility=matrix.mT)
    assert (forward * second.sum()).item() == pytest.approx((back * first.sum()).item(), rel=1e-9)
    straight = gated_crf_loss(photos(1, 3, 4), scores.softmax(1), first, second, compatibility=matrix.mT)
    assert straight.item() != pytest.approx(forward.item(), rel=1e-3)


def test_everything_is_averaged_to_the_resolution(draw, photos):
    scores, label = draw(2, 3, 8, 12)
    image, prob, mask = photos(2, 16, 24), scores.softmax(1), (label != 255).double()
    small = adaptive_avg_pool2d(prob, (4, 6))
    whole = (adaptive_avg_pool2d(mask.unsqueeze(1), (4, 6)) >= 1).double()
    assert 0 < whole.mean() < 1
    expected = gated_crf_loss(adaptive_avg_pool2d(image, (4, 6)), small, whole, radius=2)
    found = gated_crf_loss(image, prob, mask, radius=2, resolution=6)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.autograd.gradcheck(
        lambda x: gated_crf_loss(image, x.softmax(1), mask, radius=2, resolution=6),
        scores.requires_grad_(),
        fast_mode=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("compatibility", [None, [[0.0, 1, 2], [2, 0, 1], [0, 1, 0]]])
def test_second_derivative(draw, photos, compatibility):
    scores, label = draw(1, 3, 2, 3)
    assert torch.autograd.gradgradcheck(
        lambda x: gated_crf_loss(
            photos(1, 2, 3), x.softmax(1), label != 255, radius=1, compatibility=compatibility
        ),
        scores.requires_grad_(),
    )


@pytest.mark.parametrize("compatibility", [None, torch.ones(5, 5).fill_diagonal_(0)])
def test_half_types_and_autocast(draw, photos, bears, compatibility):
    scores, label = draw(2, 5, 4, 6)
    image = photos(2, 4, 6).float()
    bears(lambda p: gated_crf_loss(image, p, label != 255, compatibility=compatibility), scores.softmax(1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["crf", "filter"])
def test_operators_keep_torchs_rules(draw, photos, name):
    scores, label = draw(2, 3, 3, 4)
    table = torch.ones(2, 3, 3)
    table[:, 1, 1] = 0
    mask = (label != 255).float().unsqueeze(1)
    arguments = scores.softmax(1).float().requires_grad_(), photos(2, 3, 4).float()[None], table, mask, mask
    torch.library.opcheck({"crf": crf_op, "filter": filter_op}[name], arguments)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("compatibility", [None, [[0.0, 1, 2], [2, 0, 1], [0, 1, 0]]])
def test_compiled(draw, photos, backend, compatibility):
    scores, label = draw(2, 3, 4, 6)
    image, mask = photos(2, 8, 12).float(), (label != 255).float()
    module = GatedCRFLoss(compatibility=compatibility, resolution=5)
    torch.compiler.reset()
    results = []
    for loss_of in (module, torch.compile(module, backend=backend, fullgraph=True)):
        x = scores.softmax(1).float().requires_grad_()
        loss = loss_of(image, x, mask)
        results.append((loss, torch.autograd.grad(loss, x)[0]))
    torch.testing.assert_close(results[0], results[1])


def test_one_pass_per_step(draw, photos, monkeypatch):
    calls, original = [], dispatch.gated_crf
    monkeypatch.setattr(dispatch, "gated_crf", lambda *given: calls.append(1) or original(*given))
    monkeypatch.setattr(dispatch, "gated_filtered", None)
    scores, _ = draw(2, 3, 4, 5)
    gated_crf_loss(photos(2, 4, 5), scores.requires_grad_().softmax(1)).backward()
    assert len(calls) == 1


def test_the_image_gets_no_gradient(draw, photos):
    scores, _ = draw(2, 3, 4, 5)
    image = photos(2, 4, 5).requires_grad_()
    gated_crf_loss(image, scores.requires_grad_().softmax(1)).backward()
    assert image.grad is None and scores.grad.any()


def test_without_a_look_at_the_image(draw):
    scores, _ = draw(1, 3, 4, 5)
    kernels = [GatedKernel(1, 2, 0)]
    expected = gated_crf_loss(torch.rand(1, 3, 4, 5), scores.softmax(1), kernels=kernels)
    assert torch.equal(gated_crf_loss(None, scores.softmax(1), kernels=kernels), expected)


def test_layer_reads_its_message(build, draw, photos):
    scores, label = draw(2, 3, 4, 5)
    prob, image, mask = scores.softmax(1).float(), photos(2, 8, 12).float(), (label != 255).float()
    image[:, :, 6:] = 0
    inside, source = torch.ones(2, 8, 12), (torch.rand(2, 1, 8, 10) > 0.1).float()
    inside[:, 6:] = 0
    inputs = {"image": image, "p": prob, "s": source, "t": mask.unsqueeze(1)}
    found = build(NET % (1, "", ""))(**inputs)["loss"]
    assert torch.equal(found, gated_crf_loss(image, prob, inside))
    fields = "kernel { image_std: 0.2 } kernel { weight: 0.5 xy_std: 2 image_std: 0 } radius: 2 "
    kernels = GatedKernel(1, 6, 0.2), GatedKernel(0.5, 2, 0)
    for matrix in (None, [[0, 1, 2], [3, 0, 1], [1, 1, 0]]):
        more = " ".join(f"compatibility: {penalty}" for row in matrix or () for penalty in row)
        fields_of = f"gated_crf_loss_param {{ {fields} {more} }}"
        found = build(NET % (1, 'bottom: "s" bottom: "t"', fields_of))(**inputs)["loss"]
        expected = gated_crf_loss(image, prob, source, mask, kernels, 2, matrix)
        assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    fields_of = f"gated_crf_loss_param {{ {fields} resolution: 3 }}"
    found = build(NET % (3, 'bottom: "s"', fields_of))(**inputs | {"s": image[..., :10]})["loss"]
    inside = inside[..., :10]
    assert torch.equal(found, gated_crf_loss(image, prob, inside, None, kernels, 2, None, 3))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("gated_crf_loss_param { radius: 0 }", "radius is out of range"),
        ("gated_crf_loss_param { kernel { xy_std: -1 } }", "xy_std is out of range"),
        ("gated_crf_loss_param { resolution: 6 }", "grid is larger"),
        ("gated_crf_loss_param { compatibility: 1 }", "each pair of classes"),
        ("propagate_down: true propagate_down: true", "no gradient to the image"),
    ],
)
def test_layers_that_are_refused(build, fields, words):
    with pytest.raises(NetError, match=f"'l' \\(GatedCRFLoss\\): .*{words}"):
        build(NET % (1, "", fields))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image": torch.ones(1, 3, 2, 4)}, "image does not fit"),
        ({"image": None}, "needs the image"),
        ({"source": torch.ones(1, 2, 3, 3)}, "source mask has no such form"),
        ({"destination": torch.ones(2, 3, 3)}, "destination mask does not fit"),
        ({"kernels": []}, "needs a kernel"),
        ({"kernels": [GatedKernel(image_std=(0.1, 0.1))]}, "image_std per channel"),
        ({"compatibility": torch.ones(2, 2)}, "penalties"),
        ({"compatibility": torch.ones(2, 3)}, "not square"),
        ({"compatibility": torch.zeros(3, 3)}, "one row per class"),
        ({"prob": torch.full((1, 2, 3, 3), torch.nan)}, "loss is NaN"),
    ],
)
def test_what_is_refused(arguments, words):
    with pytest.raises(NetError, match=words):
        gated_crf_loss(**{"image": torch.ones(1, 3, 3, 3), "prob": torch.ones(1, 2, 3, 3), **arguments})


@pytest.mark.parametrize(
    ("image", "prob", "source", "words"),
    [
        (255 * torch.eye(3), torch.full((1, 2, 3, 3), 0.5), None, "2550 times"),
        (0.01 * torch.eye(3), torch.full((1, 2, 3, 3), 0.5), None, "0.01 only"),
        (torch.eye(3), torch.zeros(1, 2, 3, 3), None, "do not sum to 1"),
        (torch.eye(3), torch.full((1, 2, 3, 3), 0.5), torch.zeros(1, 3, 3), "mask is empty"),
    ],
)
def test_inputs_that_are_a_mistake(image, prob, source, words):
    with pytest.warns(LossInputWarning, match=words):
        GatedCRFLoss()(image.expand(1, 3, 3, 3), prob, source)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("compatibility", [None, torch.ones(5, 5).fill_diagonal_(0)])
def test_on_the_device_as_on_the_cpu(draw, photos, compatibility):
    scores, label = draw(2, 5, 17, 33)
    results = []
    for device in ("cpu", "cuda"):
        x = scores.float().to(device).requires_grad_()
        image, mask = photos(2, 34, 66).float().to(device), (label != 255).to(device)
        loss = gated_crf_loss(image, x.softmax(1), mask, compatibility=compatibility)
        loss.backward()
        results.append((loss.detach().cpu(), x.grad.cpu()))
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-7)
