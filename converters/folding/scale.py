"""Folds the per-channel layers after a linear layer into its weights, which is enough for inference."""

from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import replace

import torch
from torch import Tensor, nn

from rlossctl.layers.convolution import Convolution, Deconvolution, InnerProduct
from rlossctl.layers.normalization import BatchNorm, Bias, Scale
from rlossctl.layers.running_statistics import RunningNorm
from rlossctl.layers.segnet import BN
from rlossctl.net.deploy import Deploy
from rlossctl.net.layer import Layer
from rlossctl.net.walk import LayerNode

LINEAR = (Convolution, Deconvolution, InnerProduct)
Affine = tuple[Tensor, Tensor]  # factor and term of each channel, float64


@torch.no_grad()
def fold_scale(deploy: Deploy) -> tuple[Deploy, dict[str, str]]:
    """Folds BatchNorm with stored statistics, Scale, Bias and BN in INFERENCE into the linear layer before.

    A chain of such layers is folded if other layers do not read the blobs in between and none of those blobs
    is an output. Products are computed in double precision. The net's own layers do not change. Layers with
    the same weights and the same folded layers also share the new weights.

    Returns:
        The part with fewer layers, and a mapping from each layer name that is gone to the layer it went into
        (a chain takes the name of its last layer). It has as many entries as there are folded layers.
    """
    readers = _readers(deploy)
    shared: dict[tuple[int, ...], list[nn.Parameter]] = {}
    new: dict[int, LayerNode] = {}
    gone: set[int] = set()
    into: dict[str, str] = {}
    for number, layer in enumerate(deploy.layers):
        chain = _chain(deploy, readers, number)
        if not chain:
            continue
        last = deploy.layers[chain[-1]]
        modules = [layer.module, *(deploy.layers[index].module for index in chain)]
        key = tuple(id(blob) for module in modules for blob in module.blobs)
        if key not in shared:
            shared[key] = _folded(layer.module, _affine(modules[1:]))
        # It computes the last layer's value, so it takes that layer's name.
        node = replace(layer.node, name=last.name, tops=last.tops)
        new[number] = LayerNode(node, _with_blobs(layer.module, shared[key]))
        gone.update(chain)
        into.update((deploy.layers[index].name, last.name) for index in (number, *chain[:-1]))
    layers = [new.get(n, layer) for n, layer in enumerate(deploy.layers) if n not in gone]
    return deploy.replaced(layers), into


def _readers(deploy: Deploy) -> dict[tuple[int, int], list[int]]:
    """(layer number, top) -> numbers of the layers that read this value; -1 for an output."""
    current: dict[str, tuple[int, int]] = {}
    readers: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, layer in enumerate(deploy.layers):
        for blob in layer.bottoms:
            if blob in current:
                readers[current[blob]].append(number)
        current.update((blob, (number, index)) for index, blob in enumerate(layer.tops))
    for blob in deploy.output_names:
        if blob in current:
            readers[current[blob]].append(-1)
    return readers


def _chain(deploy: Deploy, readers: dict[tuple[int, int], list[int]], number: int) -> list[int]:
    """Numbers of the layers that can be folded into this one, in order."""
    layer = deploy.layers[number]
    if not isinstance(layer.module, LINEAR) or len(layer.bottoms) != 1 or layer.module.axis != 1:
        return []
    chain: list[int] = []
    while True:
        place = (chain[-1] if chain else number, 0)
        after = readers[place]
        if len(after) != 1 or after[0] < 0 or not _is_affine(deploy.layers[after[0]]):
            break
        chain.append(after[0])
    return chain


def _is_affine(layer: LayerNode) -> bool:
    module = layer.module
    if len(layer.bottoms) != 1 or len(layer.tops) != 1:
        return False
    if isinstance(module, (BatchNorm, RunningNorm)):
        return module.frozen
    if isinstance(module, BN):
        return not module.learns
    return isinstance(module, (Scale, Bias)) and module.axis == 1 and len(module.size) == 1


def _affine(modules: list[Layer]) -> Affine:
    """The whole chain as factor * x + term."""
    factor = torch.ones((), dtype=torch.float64)
    term = torch.zeros((), dtype=torch.float64)
    for module in modules:
        scale, shift = _one_affine(module)
        factor, term = factor * scale, term * scale + shift
    return factor, term


def _one_affine(module: Layer) -> Affine:
    blobs = [blob.double().flatten() for blob in module.blobs]
    if isinstance(module, BatchNorm):
        mean, variance = (value.double() for value in module.statistics())
        factor = 1 / torch.sqrt(variance + module.eps)
        return factor, -mean * factor
    if isinstance(module, RunningNorm):
        mean, variance, scale, shift = (
            blob.double().flatten() for blob in (*module.running(), *module.affine())
        )
        factor = scale / torch.sqrt(variance + module.eps)
        return factor, shift - mean * factor
    if isinstance(module, Bias):
        return torch.ones_like(blobs[0]), blobs[0]
    return blobs[0], blobs[1] if len(blobs) > 1 else torch.zeros_like(blobs[0])


def _folded(module: Layer, affine: Affine) -> list[nn.Parameter]:
    """New weight and bias: factor * (w x + b) + term."""
    factor, term = affine
    weight = module.blobs[0].double() * _along_outputs(module, factor)
    bias = term if len(module.blobs) < 2 else module.blobs[1].double() * factor + term
    return [nn.Parameter(blob.float(), requires_grad=False) for blob in (weight, bias)]


def _along_outputs(module: Layer, factor: Tensor) -> Tensor:
    """The factors of the outputs, shaped to multiply the weight."""
    weight = module.blobs[0]
    if isinstance(module, InnerProduct):
        return factor if module.transpose else factor[:, None]
    spatial = (1,) * (weight.dim() - 2)
    if isinstance(module, Deconvolution):  # (in, out / group, kernel...), the inputs group by group
        inputs = weight.shape[0] // module.group
        return (
            factor.reshape(module.group, -1).repeat_interleave(inputs, 0).reshape(*weight.shape[:2], *spatial)
        )
    return factor.reshape(-1, 1, *spatial)


def _with_blobs(module: Layer, blobs: list[nn.Parameter]) -> Layer:
    """A copy of a layer with other weights."""
    twin = copy.copy(module)
    twin._parameters = {str(index): blob for index, blob in enumerate(blobs)}
    return twin
