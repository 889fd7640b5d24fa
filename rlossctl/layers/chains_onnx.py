"""Dual decomposition as ONNX: a Scan for each message along the chains of a family (rlossctl.grid.chains)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rlossctl.net.onnx_graph import FLOAT, OnnxGraph, OnnxInput

if TYPE_CHECKING:
    from onnx import GraphProto


@dataclass(frozen=True)
class Map:
    """What the nodes compute with.

    Attributes:
        temperature: above 0; None for the maximum. The nodes get scores that are divided by it.
    """

    classes: int
    height: int
    width: int
    temperature: float | None


@dataclass
class ChainNodes:
    """All chains of one stride and direction, as nodes.

    Args:
        scores: [N, C^2, h, w - stride], or [N, C^2, h - stride, w] for chains that go down.
    """

    graph: OnnxGraph
    plane: Map
    stride: int
    down: bool
    scores: OnnxInput
    _pairs: str = field(init=False)

    def __post_init__(self) -> None:
        graph, classes = self.graph, self.plane.classes
        sizes = (self.plane.height, self.plane.width) if self.down else (self.plane.width, self.plane.height)
        self.length, self.lanes = sizes
        self.steps = -(-self.length // self.stride)
        if self.steps > 1:
            order = (2, 0, 1, 3) if self.down else (3, 0, 1, 2)
            # A message from beyond the end must be 0: the smooth maximum of `classes` such scores is.
            beyond = 0.0 if self.plane.temperature is None else -float(np.log(classes))
            pairs = self._padded(
                self.scores, order, (self.steps - 1) * self.stride, self.length - self.stride, beyond
            )
            shape = [self.steps - 1, self.stride, -1, classes, classes, self.lanes]
            self._pairs = graph.node("Reshape", pairs, graph.integers("steps", shape))

    def marginals(self, share: OnnxInput) -> tuple[str, str]:
        """Max-marginals [N, C, h, w] of unary scores, and the sum of smax over the chains [N]."""
        graph, (classes, stride) = self.graph, (self.plane.classes, self.stride)
        order = (2, 0, 1, 3) if self.down else (3, 0, 1, 2)
        back = (1, 2, 0, 3) if self.down else (1, 2, 3, 0)
        size = self.steps * stride if self.steps > 1 else self.length
        padded = self._padded(share, order, size, self.length, 0.0)
        if self.steps > 1:
            shape = [self.steps, stride, -1, classes, self.lanes]
            pieces = graph.node("Reshape", padded, graph.integers("steps", shape))
            first, before = graph.sliced(pieces, 0, 0, 1), graph.sliced(pieces, 0, 0, self.steps - 1)
            behind, last = (
                graph.sliced(pieces, 0, 1, self.steps),
                graph.sliced(pieces, 0, self.steps - 1, self.steps),
            )
            forwards = graph.node("Concat", first, self._scan(first, behind, False), axis=0)
            backwards = graph.node("Concat", self._scan(last, before, True), last, axis=0)
            both = graph.node("Sub", graph.node("Add", forwards, backwards), pieces)
            flat = graph.integers("chain", [size, -1, classes, self.lanes])
            padded = graph.sliced(graph.node("Reshape", both, flat), 0, 0, self.length)
        best = self._best(
            graph.node, graph.sliced(padded, 0, 0, min(stride, self.length)), graph.integers("labels", [2])
        )
        axes = graph.integers("chains", [0, 2])
        return graph.node("Transpose", padded, perm=back), graph.node("ReduceSum", best, axes, keepdims=0)

    def _padded(self, value: OnnxInput, order: Sequence[int], size: int, known: int, fill: float) -> str:
        graph = self.graph
        turned = graph.node("Transpose", value, perm=order)
        if size == known:
            return turned
        pads = graph.integers("pads", [0] * 4 + [size - known, 0, 0, 0])
        return graph.node("Pad", turned, pads, graph.number("fill", fill))

    def _scan(self, state: str, pieces: str, reverse: bool) -> str:
        """The messages plus unary scores at every step, from the step after `state`'s on."""
        graph = self.graph
        start = graph.node("Squeeze", state, graph.integers("step", [0]))
        directions = [int(reverse)]
        return graph.node_with(
            2,
            "Scan",
            start,
            pieces,
            self._pairs,
            num_scan_inputs=2,
            scan_input_directions=directions * 2,
            scan_output_directions=directions,
            body=self._body(reverse),
        )[1]

    def _body(self, reverse: bool) -> GraphProto:
        """One step: state and piece [stride, N, C, lanes], pairs [stride, N, C, C, lanes]."""
        from onnx import helper, numpy_helper

        names = [f"{self.graph.layer}/step.{name}" for name in ("state", "piece", "pairs", "next", "kept")]
        state, piece, pairs, following, kept = names
        nodes: list[Any] = []

        def node(kind: str, *inputs: OnnxInput, out: str = "", **attributes: Any) -> str:
            out = out or f"{self.graph.layer}/step.{len(nodes)}"
            nodes.append(helper.make_node(kind, list(map(str, inputs)), [out], **attributes))
            return out

        def axes(axis: int) -> str:
            return node("Constant", value=numpy_helper.from_array(np.array([axis], np.int64)))

        added = node("Add", pairs, node("Unsqueeze", state, axes(2 if reverse else 3)))
        best = self._best(node, added, axes(3 if reverse else 2))
        node("Add", piece, best, out=following)
        node("Identity", following, out=kept)
        shape = [self.stride, None, self.plane.classes, self.lanes]
        pair_shape = [*shape[:2], self.plane.classes, *shape[2:]]
        infos = [helper.make_tensor_value_info(name, FLOAT, shape) for name in names]
        infos[2] = helper.make_tensor_value_info(pairs, FLOAT, pair_shape)
        return helper.make_graph(nodes, "step", infos[:3], infos[3:])

    def _best(self, node: Callable[..., str], scores: str, axes: str) -> str:
        kind = "ReduceMax" if self.plane.temperature is None else "ReduceLogSumExp"
        return node(kind, scores, axes, keepdims=0)


def write_iterations(
    graph: OnnxGraph,
    unary: OnnxInput,
    families: Sequence[ChainNodes],
    steps: tuple[int, float],
    tolerance: float | None,
) -> tuple[str, str]:
    """`dual_decomposition`: the scores [N, C, h, w], and the dual values [N, iterations].

    Args:
        steps: the number of iterations, and how far each moves the shares.
    """
    iterations, move = steps
    warmth = families[0].plane.temperature or 1.0
    even = graph.scaled(unary, 1 / (len(families) * warmth), 0)
    shares = [even] * len(families)
    stopped, last, values = "", ("", ""), []
    for number in range(iterations):
        found = [family.marginals(share) for family, share in zip(families, shares, strict=True)]
        total = graph.node("Sum", *(marginals for marginals, _ in found))
        dual = graph.scaled(graph.node("Sum", *(dual for _, dual in found)), warmth, 0)
        if number and tolerance is not None:
            enough = graph.node("Add", last[1], graph.number("tolerance", tolerance))
            worse = graph.node("GreaterOrEqual", dual, enough)
            stopped = graph.node("Or", stopped, worse) if stopped else worse
            images = graph.node("Unsqueeze", stopped, graph.integers("plane", [1, 2, 3]))
            kept = graph.node("Where", images, last[0], total), graph.node("Where", stopped, last[1], dual)
        else:
            kept = total, dual
        last = kept
        values.append(graph.node("Unsqueeze", kept[1], graph.integers("iteration", [1])))
        if number + 1 < iterations:
            mean = graph.scaled(total, 1 / len(families), 0)
            shares = [
                graph.node("Sub", share, graph.scaled(graph.node("Sub", marginals, mean), move, 0))
                for share, (marginals, _) in zip(shares, found, strict=True)
            ]
    return graph.scaled(last[0], warmth, 0), graph.node("Concat", *values, axis=1)
