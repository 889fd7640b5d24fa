"""Layers that find or use indices: ArgMax, Embed, BatchReindex and Filter. Indices are stored as floats."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.net.layer import Layer, Setup
from rlossctl.net.onnx_graph import FLOAT, OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import computes, register
from rlossctl.outlines.indexing import ArgMaxOutline


@computes("ArgMax")
class ArgMax(ArgMaxOutline, Layer):
    """Indices of the top_k largest values, best first; ties go to the larger index (argmax_layer.cpp).

    With `axis`, that axis holds the top_k indices, or the values with out_max_val. Without `axis`, all axes
    but the batch count as one and the top is (N, 1, top_k), or (N, 2, top_k) of indices and values with
    out_max_val, with further axes of 1 up to the bottom's rank.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.axis is not None:
            index, value = self._largest(x, self.axis)
            return value if self.values else index.to(x.dtype)
        index, value = self._largest(x.flatten(1), 1)
        rows = [index.to(x.dtype), value] if self.values else [index.to(x.dtype)]
        return torch.stack(rows, 1).reshape(-1, len(rows), self.top_k, *(1,) * (x.dim() - 3))

    def write_onnx(self, graph: OnnxGraph, x: OnnxValue) -> Written:
        if self.axis is None or self.top_k > 1:
            return None
        if self.values:
            return graph.node("ReduceMax", x, graph.integers("axes", [self.axis]))
        return graph.node("Cast", graph.node("ArgMax", x, axis=self.axis, select_last_index=1), to=FLOAT)

    def _largest(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """One by one, because torch.topk and torch.argmax do not say which of equal values they take."""
        place = torch.arange(x.shape[axis], device=x.device).reshape(-1, *(1,) * (x.dim() - axis - 1))
        indices, values, free = [], [], None
        for _ in range(self.top_k):
            value = (x if free is None else x.masked_fill(~free, -math.inf)).amax(axis, keepdim=True)
            found = x == value if free is None else free & (x == value)
            index = torch.where(found, place, -1).amax(axis, keepdim=True)
            free = place != index if free is None else free & (place != index)
            indices.append(index)
            values.append(value)
        return torch.cat(indices, axis), torch.cat(values, axis)


@register("Embed")
class Embed(Layer):
    """A learned row of num_output values for each index in the bottom (embed_layer.cpp).

    Top: the bottom's shape with one more axis. Blobs: rows (input_dim, num_output), and a bias (num_output)
    with bias_term. An index outside 0 .. input_dim-1 is an error. The bottom gets no gradient.
    """

    compilable = False

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.embed_param
        self.rows = param.input_dim
        if param.input_dim < 1 or param.num_output < 1:
            raise setup.error(
                "input_dim and num_output must be positive",
                found=f"input_dim {param.input_dim}, num_output {param.num_output}",
            )
        self.add_blob(
            (param.input_dim, param.num_output),
            param.weight_filler if param.HasField("weight_filler") else None,
        )
        if param.bias_term:
            self.add_blob((param.num_output,), param.bias_filler if param.HasField("bias_filler") else None)

    def forward(self, x: Tensor) -> Tensor:
        y = F.embedding(_checked(self, x, self.rows), self.blobs[0])
        return y + self.blobs[1] if len(self.blobs) > 1 else y


@register("BatchReindex", bottoms=2)
class BatchReindex(Layer):
    """The items of bottom 0's batch at the indices in bottom 1, in that order (batch_reindex_layer.cpp).

    If an index occurs twice, the gradients add up.
    """

    compilable = False

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if len(setup.bottoms[1]) != 1:
            raise setup.error("bottom 1 must be a list of indices (one axis)", found=setup.bottoms[1])

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        return x.index_select(0, _checked(self, index, x.shape[0]))


@register("Filter", bottoms=(2, None), tops=(1, None))
class Filter(Layer):
    """The batch items of each bottom but the last for which the last bottom (the selector) is not 0
    (filter_layer.cpp). The selector's values decide the tops' batch size; when the net is built it is the
    full size, as in Caffe. Items left out get the gradient 0; the selector gets none.
    """

    compilable = False

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        *bottoms, selector = setup.bottoms
        if setup.tops != len(bottoms):
            raise setup.error(
                "needs a top for every bottom but the last", found=setup.tops, expected=len(bottoms)
            )
        if any(size != 1 for size in selector[1:]):
            raise setup.error("the selector must hold one value per batch item", found=selector)
        if any(shape[:1] != selector[:1] for shape in bottoms):
            raise setup.error("bottoms must have the same batch size", found=list(setup.bottoms))

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        *values, selector = bottoms
        if selector.is_meta:
            return tuple(values)
        chosen = selector.detach().flatten().nonzero().flatten()
        return tuple(value.index_select(0, chosen) for value in values)


def _checked(layer: Layer, index: Tensor, count: int) -> Tensor:
    """Indices as int64; refuses any outside 0 .. count-1 (Caffe checks only in debug builds)."""
    index = index.detach().long()
    if not index.is_meta and not torch.compiler.is_compiling():
        wrong = index[(index < 0) | (index >= count)]
        if wrong.numel():
            raise layer.error(
                "index out of range", found=sorted(set(wrong.tolist()))[:10], expected=f"0 to {count - 1}"
            )
    return index
