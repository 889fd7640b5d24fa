"""The tree filter: averages along the minimum spanning tree of an image ("Learnable Tree Filter", Song et al.
2019), as operators of torch with native kernels, and their twins in plain operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rlossctl.bilateral.choice import find_native
from rlossctl.bilateral.ops import differentiable, operator
from rlossctl.grid.kernel import native
from rlossctl.grid.levels import Levels

TREES_OP = "rlossctl::spanning_trees"
OP = "rlossctl::tree_filter"
GRADIENT_OP = "rlossctl::tree_gradients"


def tree_filter(values: Tensor, features: Tensor, sigma: float = 1.0) -> Tensor:
    """Weighted means of each channel over the whole image: sum_j A_ij values_j / sum_j A_ij.

    A_ij is the product of exp(-|f_a - f_b|^2 / sigma) over the edges between a and b on the path from i to j
    in the minimum spanning tree of the 4-connected grid, whose edges weigh float32(|f_a - f_b|^2 + 1). Of
    equal weights the tree takes the edge with the lower number: edges downwards first, row by row, then those
    to the right. The tree has no gradient; values and affinities have.

    Args:
        values: [N, C, h, w].
        features: [N, F, h, w], of the same type: float32 or float64.
        sigma: divides squared distances, in the features' units squared.

    On a GPU the edges' weights go to the host, which makes the trees; values and features stay. The passes
    over a tree then take an operation for each of its levels.
    """
    distances = edge_distances(features)
    height, width = features.shape[2:]
    order, parent = trees_op(distances.detach() + 1, height, width)
    edges = functional.pad(distances, (0, 1))  # one more, for an image of one pixel
    affinity = (edges.gather(1, edge_numbers(parent, height, width)) / -sigma).exp()
    rows = values.flatten(2)
    if native(rows):
        return filter_op(rows, affinity, order, parent).unflatten(2, values.shape[2:])
    return filter_twin(rows, affinity, order, parent).unflatten(2, values.shape[2:])


def edge_distances(features: Tensor) -> Tensor:
    """|f_a - f_b|^2 of the grid's edges, [N, edges]: those downwards row by row, then those to the right."""
    down = (features[:, :, 1:] - features[:, :, :-1]).square().sum(1)
    right = (features[..., 1:] - features[..., :-1]).square().sum(1)
    return torch.cat([down.flatten(1), right.flatten(1)], 1)


def edge_numbers(parent: Tensor, height: int, width: int) -> Tensor:
    """The number of the edge from each pixel to its parent, [N, h w]; 0 for the root, which has none."""
    pixel = torch.arange(height * width, device=parent.device)
    first, apart = torch.minimum(pixel, parent), (pixel - parent).abs()
    across = (height - 1) * width + first - first // width  # a row has one edge fewer than pixels
    return first.where((apart == width) | (apart == 0), across)


@operator(TREES_OP, "Tensor weights, int height, int width", "(Tensor, Tensor)")
def trees_op(weights: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Trees from the weights of the edges, [N, edges]: order and parent of their pixels, both [N, h w] int64.

    Pixels are numbered row by row. Parents come before their children in the order, which begins with pixel
    0, its own parent. Made on the host, in float32.
    """
    host = weights.to("cpu", torch.float32).contiguous()
    found = (torch.empty((len(host), height * width), dtype=torch.int64) for _ in range(2))
    order, parent = found
    if not native(host):
        for tree, image in zip(zip(order, parent, strict=True), host.numpy(), strict=True):
            for to, made in zip(tree, tree_twin(image, height, width), strict=True):
                to.copy_(torch.from_numpy(made))
    elif order.numel():
        addresses = order.data_ptr(), parent.data_ptr()
        size = len(host), height, width
        find_native().needed().spanning_trees(host.data_ptr(), *size, *addresses, torch.get_num_threads())
    return order.to(weights.device), parent.to(weights.device)


@torch.library.register_fake(TREES_OP)
def _(weights: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    shape = len(weights), height * width
    return weights.new_empty(shape, dtype=torch.int64), weights.new_empty(shape, dtype=torch.int64)


def tree_twin(weights: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """One image's tree by Kruskal's algorithm: order and parents, [h w]."""
    pixels = np.arange(height * width).reshape(height, width)
    first = np.concatenate([pixels[:-1].ravel(), pixels[:, :-1].ravel()])
    second = np.concatenate([pixels[1:].ravel(), pixels[:, 1:].ravel()])
    above, near = list(range(height * width)), [list[int]() for _ in range(height * width)]

    def root(pixel: int) -> int:
        while above[pixel] != pixel:
            above[pixel] = pixel = above[above[pixel]]
        return pixel

    for edge in np.argsort(weights, kind="stable"):
        one, other = int(first[edge]), int(second[edge])
        if root(one) != root(other):
            above[root(one)] = root(other)
            near[one].append(other)
            near[other].append(one)
    order, parent = [0], {0: 0}
    for pixel in order:
        children = [other for other in near[pixel] if other not in parent]
        parent.update(dict.fromkeys(children, pixel))
        order += children
    return np.array(order), np.array([parent[pixel] for pixel in range(height * width)])


def filter_twin(values: Tensor, affinity: Tensor, order: Tensor, parent: Tensor) -> Tensor:
    """`filter_op` level by level: pixels of all images that are equally far from their root."""
    levels = Levels(order, parent)
    rows = (
        torch.cat([values, torch.ones_like(values[:, :1])], 1).transpose(1, 2).flatten(0, 1)
    )  # [N P, C + 1]
    weights = [affinity.flatten()[level].unsqueeze(1) for level in levels.pixels]
    below = [rows[level] for level in levels.pixels]
    for depth in range(len(below) - 1, 0, -1):  # sums over subtrees
        part = weights[depth] * below[depth]
        below[depth - 1] = below[depth - 1].index_add(0, levels.parents[depth], part)
    sums = below[:1]
    for depth in range(1, len(below)):
        weight, above = weights[depth], sums[-1][levels.parents[depth]]
        sums.append(weight * above + (1 - weight.square()) * below[depth])
    every = torch.cat(sums)[levels.back].unflatten(0, order.shape)
    return (every[..., :-1] / every[..., -1:]).transpose(1, 2)


@operator(OP, "Tensor values, Tensor affinity, Tensor order, Tensor parent", "Tensor")
def filter_op(values: Tensor, affinity: Tensor, order: Tensor, parent: Tensor) -> Tensor:
    """The filter along trees that are known; values [N, C, P], affinity of each pixel to its parent [N, P].

    CPU, float32. The root's affinity is not read.
    """
    given = [tensor.contiguous() for tensor in (values, affinity, order, parent)]
    filtered = torch.empty_like(given[0])
    if filtered.numel():
        addresses = (tensor.data_ptr() for tensor in given)
        arguments = *addresses, *values.shape, filtered.data_ptr()
        find_native().needed().tree_filter(*arguments, torch.get_num_threads())
    return filtered


@torch.library.register_fake(OP)
def _(values: Tensor, affinity: Tensor, order: Tensor, parent: Tensor) -> Tensor:
    return values.new_empty(values.shape)


@operator(
    GRADIENT_OP,
    "Tensor slope, Tensor values, Tensor affinity, Tensor order, Tensor parent, bool both",
    "(Tensor, Tensor)",
)
def gradients_op(
    slope: Tensor, values: Tensor, affinity: Tensor, order: Tensor, parent: Tensor, both: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of values and, if `both`, of affinity, which are 0 otherwise."""
    given = [tensor.contiguous() for tensor in (slope, values, affinity, order, parent)]
    values_slope, affinity_slope = torch.empty_like(given[1]), torch.zeros_like(given[2])
    if values_slope.numel():
        addresses = (tensor.data_ptr() for tensor in given)
        slopes = values_slope.data_ptr(), affinity_slope.data_ptr() if both else 0
        arguments = *addresses, *values.shape, *slopes
        find_native().needed().tree_gradients(*arguments, torch.get_num_threads())
    return values_slope, affinity_slope


@torch.library.register_fake(GRADIENT_OP)
def _(
    slope: Tensor, values: Tensor, affinity: Tensor, order: Tensor, parent: Tensor, both: bool
) -> tuple[Tensor, Tensor]:
    return values.new_empty(values.shape), affinity.new_empty(affinity.shape)


def _setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, slope: Tensor | None) -> tuple[Tensor | None, ...]:
    if slope is None:
        return None, None, None, None
    both = ctx.needs_input_grad[1]
    values_slope, affinity_slope = gradients_op(slope, *ctx.saved_tensors, both)
    return values_slope, affinity_slope if both else None, None, None


differentiable(filter_op, _setup_context, _backward)
