"""The tree energy loss and the tree filter: recordings, path products, twins, gradients."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from rlossctl.errors import NetError
from rlossctl.grid import tree
from rlossctl.losses import TreeEnergyLoss, tree_energy_loss

NET = """input: "data" input_shape { dim: 2 dim: 3 dim: 8 dim: 10 }
input: "p" input_shape { dim: 2 dim: 4 dim: 4 dim: 5 }
input: "label" input_shape { dim: 2 dim: 1 dim: 8 dim: 10 }
input: "f" input_shape { dim: 2 dim: 6 dim: 4 dim: 5 }
layer { name: "l" type: "TreeEnergyLoss" bottom: "data" bottom: "p" bottom: "label" %s top: "loss"
  loss_weight: 1 loss_param { ignore_label: 255 } %s }"""


@pytest.fixture
def photos():
    """photos(N, h, w): coarse colours, so that many edges of the grid have equal weights."""

    def make(images: int, height: int, width: int) -> Tensor:
        generator = torch.Generator().manual_seed(height * 31 + width)
        return torch.randint(4, (images, 3, height, width), generator=generator).double() / 4

    return make


def test_recorded_losses(shared, reproduces):
    files = sorted((shared / "golden/losses/tree").glob("*.npz"))
    assert len(files) == 15
    for file in files:
        with np.load(file) as data:
            case = dict(data)
        param, mask = json.loads(str(case["params"])), torch.from_numpy(case["in/roi"])

        def loss(
            x: Tensor, key: str = "logits", case: dict = case, param: dict = param, mask: Tensor = mask
        ) -> Tensor:
            given = {
                name[3:]: torch.tensor(value, dtype=x.dtype)
                for name, value in case.items()
                if name[:3] == "in/"
            }
            given[key] = x
            prob = given["logits"].softmax(1)
            return param["weight"] * tree_energy_loss(
                given["low"], prob, mask, given.get("high"), param["sigma"]
            )

        for key in ("logits", "high"):
            if f"grad/{key}" in case:
                gradient = case[f"grad/{key}"]
                if not gradient.any():
                    assert loss(torch.from_numpy(case["in/logits"])) == 0 == case["out/loss"]
                    continue
                reproduces(partial(loss, key=key), case[f"in/{key}"], case["out/loss"], gradient)


def test_recorded_trees(shared):
    """The edges of the original's trees, also where many weights are equal."""
    for file in sorted((shared / "golden/losses/tree").glob("*.npz")):
        with np.load(file) as case:
            if case["in/low"].shape[2:] != case["in/logits"].shape[2:]:
                continue
            image, expected = torch.from_numpy(case["in/low"]), case["out/low_tree"]
        for order, parent, edges in zip(*trees(image), expected, strict=True):
            assert np.array_equal(numbers(order, parent, *image.shape[2:]), np.sort(edges)), file.stem


def trees(image: Tensor) -> tuple[Tensor, Tensor]:
    """Order and parents of the trees of [N, C, h, w]."""
    return tree.trees_op(tree.edge_distances(image) + 1, *image.shape[2:])


def numbers(order: Tensor, parent: Tensor, height: int, width: int) -> np.ndarray:
    """The numbers of a tree's edges, ascending."""
    ends = torch.stack([order[1:], parent[order[1:]]]).sort(0).values
    first, step = ends[0], ends[1] - ends[0]
    across = (height - 1) * width + first // width * (width - 1) + first % width
    falls = step == width if width > 1 else step > 0
    return np.sort(torch.where(falls, first, across).numpy())


@pytest.mark.parametrize(("height", "width"), [(6, 7), (1, 9), (8, 1), (1, 1), (2, 2)])
def test_the_tree_is_kruskals(photos, height, width):
    image = photos(2, height, width)
    order, parent = trees(image)
    down = (image[:, :, 1:] - image[:, :, :-1]).square().sum(1).flatten(1)
    right = (image[..., 1:] - image[..., :-1]).square().sum(1).flatten(1)
    weights = (torch.cat([down, right], 1) + 1).float().numpy()
    for at in range(2):
        found = tree.tree_twin(weights[at], height, width)
        twin = numbers(*map(torch.from_numpy, found), height, width)
        assert np.array_equal(numbers(order[at], parent[at], height, width), twin)
        assert (
            sorted(order[at].tolist()) == list(range(height * width)) and parent[at, 0] == 0 == order[at, 0]
        )
        place = order[at].argsort()
        assert (place[parent[at, order[at, 1:]]] < place[order[at, 1:]]).all()


def by_paths(values: Tensor, features: Tensor, parent: Tensor, sigma: float) -> Tensor:
    """One image's filter: products along the paths between all pairs of pixels."""
    flat = features.flatten(1)
    edge = [(-(flat[:, i] - flat[:, parent[i]]).square().sum() / sigma).exp() for i in range(len(parent))]

    def path(i: int) -> dict[int, Tensor]:
        """Pixel above i -> product up to it."""
        found, product = {i: torch.ones((), dtype=flat.dtype)}, torch.ones((), dtype=flat.dtype)
        while parent[i] != i:
            product, i = product * edge[i], int(parent[i])
            found[i] = product
        return found

    paths = [path(i) for i in range(len(parent))]
    affinity = torch.stack([torch.stack([meeting(a, b) for b in paths]) for a in paths])
    return (values.flatten(1) @ affinity.T / affinity.sum(1)).reshape(values.shape)


def meeting(one: dict[int, Tensor], other: dict[int, Tensor]) -> Tensor:
    """The product of two paths to the pixel where they meet first."""
    place = next(pixel for pixel in one if pixel in other)
    return one[place] * other[place]


@pytest.mark.parametrize(("classes", "height", "width"), [(3, 4, 5), (1, 1, 6), (2, 5, 1), (21, 2, 3)])
def test_the_filter_is_the_sum_over_paths(draw, photos, classes, height, width):
    scores, _ = draw(2, classes, height, width)
    image = photos(2, height, width)
    _, parent = trees(image)
    expected = torch.stack([by_paths(v, f, p, 0.5) for v, f, p in zip(scores, image, parent, strict=True)])
    found = tree.tree_filter(scores, image, 0.5)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    assert torch.allclose(tree.tree_filter(scores.float(), image.float(), 0.5), expected.float(), atol=1e-6)


@pytest.mark.proves("TreeEnergyLoss", gradient=True)
@pytest.mark.parametrize(("classes", "height", "width"), [(3, 4, 5), (1, 2, 3), (2, 1, 6), (150, 2, 2)])
def test_gradient(draw, photos, classes, height, width):
    scores, label = draw(2, classes, height, width)
    features = scores.sin()[:, :1] + photos(2, height, width)
    image = photos(2, height, width)

    def loss(scores: Tensor, features: Tensor) -> Tensor:
        return tree_energy_loss(image, scores.softmax(1), label == 255, features, 0.5)

    given = scores.requires_grad_(), features.requires_grad_()
    assert torch.autograd.gradcheck(loss, given, fast_mode=True)


def test_the_kernel_is_its_twin(draw, photos):
    scores, _ = draw(3, 5, 7, 9)
    image = photos(3, 7, 9)
    order, parent = trees(image)
    affinity = torch.rand((3, 63), generator=torch.Generator().manual_seed(1))
    results = []
    for run, dtype in ((tree.filter_op, torch.float32), (tree.filter_twin, torch.float64)):
        values = scores.to(dtype, copy=True).flatten(2).requires_grad_()
        weights = affinity.to(dtype, copy=True).requires_grad_()
        found = run(values, weights, order, parent)
        (found * scores.to(dtype).flatten(2).cos()).sum().backward()
        weights.grad[:, 0] = 0  # the root's is not read
        results.append((found, values.grad, weights.grad))
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one.double(), other, rtol=0, atol=1e-5)


def test_no_bit_depends_on_the_threads(draw, photos):
    scores, _ = draw(5, 4, 6, 7)
    image, outcomes = photos(5, 6, 7).float(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        values, features = scores.float().requires_grad_(), image.clone().requires_grad_()
        found = tree.tree_filter(values, features, 0.5)
        found.square().sum().backward()
        outcomes.append((found, values.grad, features.grad))
    assert all(map(torch.equal, *outcomes))


def test_a_region_of_one_colour_is_averaged():
    image = torch.zeros(1, 3, 4, 6)
    image[..., 3:] = 50
    prob = torch.rand((1, 2, 4, 6), generator=torch.Generator().manual_seed(0))
    found = tree.tree_filter(prob, image, 1.0)
    means = torch.cat([part.mean((2, 3), keepdim=True).expand(part.shape) for part in prob.split(3, 3)], 3)
    assert torch.allclose(found, means, atol=1e-6)


def test_image_and_label_of_another_size(draw, photos):
    scores, _ = draw(2, 3, 4, 5)
    prob, image, mask = scores.softmax(1), photos(2, 8, 10), torch.zeros(2, 8, 10)
    mask[:, ::2, ::2] = 1  # what nearest neighbours read
    small = torch.nn.functional.interpolate(image, (4, 5), mode="bilinear")
    assert torch.equal(tree_energy_loss(image, prob, mask), tree_energy_loss(small, prob))


def test_empty_masks_are_zero_with_a_gradient(draw, photos):
    scores, _ = draw(2, 3, 4, 5)
    loss = tree_energy_loss(photos(2, 4, 5), scores.requires_grad_().softmax(1), torch.zeros(2, 4, 5))
    loss.backward()
    assert loss.item() == 0 and not scores.grad.any()


def test_half_types_and_autocast(draw, photos, bears):
    scores, label = draw(2, 5, 4, 6)
    image = photos(2, 4, 6).float()
    bears(lambda p: tree_energy_loss(image, p, label == 255, image, 0.1), scores.softmax(1))


def test_the_image_gets_no_gradient_and_stays(draw, photos):
    scores, _ = draw(2, 3, 4, 5)
    image = photos(2, 4, 5).requires_grad_()
    before = image.detach().clone()
    tree_energy_loss(image, scores.requires_grad_().softmax(1)).backward()
    assert image.grad is None and scores.grad.any() and torch.equal(image, before)


def test_layer_reads_its_message(build, draw, photos):
    scores, label = draw(2, 4, 4, 5)
    prob, image, features = (
        scores.softmax(1).float(),
        photos(2, 8, 10).float() + 1,
        scores.float()[:, [0, 1, 2, 3, 0, 1]],
    )
    label = label.repeat_interleave(2, 1).repeat_interleave(2, 2)
    image[:, :, :, 6:] = 0
    inside = torch.ones(2, 1, 8, 10)
    inside[..., 6:] = 0
    inputs = {"data": image, "p": prob, "label": label.unsqueeze(1).float(), "f": features}
    found = build(NET % ("", ""))(**inputs)["loss"]
    assert torch.equal(found, TreeEnergyLoss()(image, prob, label, None, inside)) and found > 0
    found = build(NET % ('bottom: "f"', "tree_energy_loss_param { sigma: 0.5 }"))(**inputs)["loss"]
    assert torch.equal(found, TreeEnergyLoss(0.5)(image, prob, label, features, inside))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("tree_energy_loss_param { sigma: 0 }", "sigma is out of range"),
        ("propagate_down: true propagate_down: true propagate_down: false", "no gradient to the image"),
    ],
)
def test_layers_that_are_refused(build, fields, words):
    with pytest.raises(NetError, match=f"'l' \\(TreeEnergyLoss\\): .*{words}"):
        build(NET % ("", fields))


def test_a_layer_needs_its_ignore_label(build):
    with pytest.raises(NetError, match="which label stands for none"):
        build((NET % ("", "")).replace("loss_param { ignore_label: 255 }", ""))


def test_what_is_refused():
    prob = torch.ones(1, 2, 3, 4)
    with pytest.raises(NetError, match="mask do not fit"):
        tree_energy_loss(prob, prob, torch.ones(2, 3, 4))
    with pytest.raises(NetError, match="image do not fit"):
        tree_energy_loss(torch.ones(2, 3, 3, 4), prob)
    with pytest.raises(NetError, match="features do not fit"):
        tree_energy_loss(prob, prob, None, torch.ones(1, 3, 3, 3))
    with pytest.raises(NetError, match="sigma"):
        TreeEnergyLoss(0)
