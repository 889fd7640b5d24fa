"""A CRF on the net's own scores, solved inside the net: DualDecompositionCRF."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from rlossctl.grid import Grid, dual_decomposition, hidden_grids, linear_grids
from rlossctl.layers.chains_onnx import ChainNodes, Map, write_iterations
from rlossctl.layers.running_statistics import RunningStatistics
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.onnx_graph import OnnxGraph, OnnxValue, Written
from rlossctl.net.registry import register
from rlossctl.prototxt.messages import FillerParameter

LEAST_TEMPERATURE = 0.01  # of a learned one
EPSILON = 1e-5  # of the hidden layer's variance


@register("DualDecompositionCRF", source="rlossctl", bottoms=2, tops=(1, 2))
class DualDecompositionCRF(Layer):
    """Max-marginals of a CRF between neighbours, by dual decomposition (rlossctl.grid.dual_decomposition).

    Bottoms: unary scores (N, C, h, w) and features (N, F, h, w). The pairwise score of labels a and b of two
    pixels `stride` apart (repeated; 1 and 2) in a row or column is row C a + b of weight [f(left or upper) ;
    f(right or lower)] + bias. Blobs: weight (C^2, 2 F, 1, 1), bias (C^2), and with learn_temperature the
    temperature (1), kept at 0.01 or more. With `hidden` the scores are weight relu(norm(hidden weight
    [f ; f])) + bias: weight is (C^2, H, 1, 1), and further blobs are the hidden weight (H, 2 F, 1, 1), the
    norm's scale and shift, and its running mean and variance (H).

    `iterations` (5) with `step` (0: 1 / max(h, w)); temperature (2) smooths the maximum, 0 takes it as it is.
    With final_temperature it falls while a solver trains: at the share t of max_iter it is
    (temperature - final) (1 - t / temperature_ratio)^temperature_power + final; TEST takes the final one.
    In TEST an image stops when its dual value rises by `tolerance` (1e-4; 0 or less: never). Tops: the
    marginals (N, C, h, w), scores as from a classifier, and the dual value of each iteration (N, iterations).
    """

    compilable = False

    def __new__(cls, setup: Setup) -> Any:
        return super().__new__(HiddenCRF if setup.message.dual_decomposition_crf_param.hidden else cls)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.param = setup.message.dual_decomposition_crf_param
        self.strides = list(self.param.stride) or [1, 2]
        self._check()
        self._warmth = self.param.final_temperature if self._falls and setup.phase == "TEST" else None
        classes, features = setup.bottoms[0][1], setup.bottoms[1][1]
        self.add_blob((classes**2, self.param.hidden or 2 * features, 1, 1), self.param.weight_filler)
        self.add_blob((classes**2,), self.param.bias_filler)
        if self.param.learn_temperature:
            self.add_blob((1,), FillerParameter(type="constant", value=self.param.temperature))
        tolerates = setup.phase == "TEST" and self.param.tolerance > 0
        self.tolerance = self.param.tolerance if tolerates else None

    @property
    def _falls(self) -> bool:
        return self.param.HasField("final_temperature")

    def _check(self) -> None:
        unary, features = self.setup.bottoms
        if len(unary) != 4 or len(features) != 4 or (unary[0], *unary[2:]) != (features[0], *features[2:]):
            raise self.error(
                "scores and features must have equal batch, height and width",
                found=f"{unary} and {features}",
                expected="(N, C, h, w) and (N, F, h, w)",
                advice="resize one of them (Interp)",
            )
        for name, fault in (("iterations", self.param.iterations < 1), ("stride", 0 in self.strides)):
            if fault:
                raise self.error(f"{name} must be positive", found=0, expected="1 or more")
        if self.param.learn_temperature and self.param.temperature < LEAST_TEMPERATURE:
            raise self.error(
                "cannot learn a temperature that starts so low",
                found=f"temperature: {self.param.temperature:g}",
                expected=f"{LEAST_TEMPERATURE:g} or more",
            )
        if self._falls:
            self._check_schedule()

    def _check_schedule(self) -> None:
        if self.param.learn_temperature:
            raise self.error(
                "cannot both learn its temperature and let it fall",
                found="learn_temperature: true and final_temperature",
                expected="one of them",
                advice="leave the other out",
            )
        for name in ("temperature_power", "temperature_ratio"):
            value = getattr(self.param, name)
            if not 0 < value < float("inf"):
                raise self.error(f"{name} is out of range", found=value, expected="a number above 0")
        if not 0 <= self.param.final_temperature <= self.param.temperature:
            raise self.error(
                "final_temperature is out of range",
                found=self.param.final_temperature,
                expected=f"0 to the temperature at the start, {self.param.temperature:g}",
            )

    def progress(self, done: float) -> bool:
        if not self._falls or self.setup.phase == "TEST":
            return False
        first, last = self.param.temperature, self.param.final_temperature
        left = max(0.0, 1 - done / self.param.temperature_ratio)
        self._warmth = (first - last) * left**self.param.temperature_power + last
        return True

    def forward(self, unary: Tensor, features: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        with self.naming():
            found = dual_decomposition(
                unary,
                self.grids(features),
                self.param.iterations,
                self.temperature,
                self.param.step,
                self.tolerance,
            )
        return (found.scores, found.dual) if self.setup.tops > 1 else found.scores

    def write_onnx(self, graph: OnnxGraph, unary: OnnxValue, features: OnnxValue) -> Written:
        size = unary.sizes(2, 4)
        if size is None or self.setup.phase != "TEST":
            return None
        warmth = float(torch.as_tensor(self.temperature).detach()) or None
        plane = Map(self.setup.bottoms[0][1], size[0], size[1], warmth)
        first, second = self._write_halves(graph, features)
        families = []
        for stride, down in product(self.strides, (False, True)):
            length = size[0 if down else 1]
            pairs = ""
            if length > stride:
                axis = 2 if down else 3
                before = graph.sliced(first, axis, 0, length - stride)
                added = graph.node("Add", before, graph.sliced(second, axis, stride, length))
                pairs = graph.scaled(self._write_scores(graph, added), 1 / (warmth or 1), 0)
            families.append(ChainNodes(graph, plane, stride, down, pairs))
        steps = self.param.iterations, self.param.step or 1 / max(size)
        scores, dual = write_iterations(graph, unary, families, steps, self.tolerance)
        return (scores, dual) if self.setup.tops > 1 else scores

    def _write_halves(self, graph: OnnxGraph, features: OnnxValue) -> tuple[str, str]:
        """What each pixel of a pair adds to its scores."""
        weight, bias = self.blobs[:2]
        first, second = weight.split(self.setup.bottoms[1][1], 1)
        return (
            graph.node("Conv", features, graph.weight("first", first), graph.weight("bias", bias)),
            graph.node("Conv", features, graph.weight("second", second)),
        )

    def _write_scores(self, graph: OnnxGraph, added: str) -> str:
        """The scores of pairs from the sum of what both pixels add."""
        return added

    def grids(self, features: Tensor) -> list[Grid]:
        """The pairwise scores of every stride."""
        return linear_grids(features, self.blobs[0], self.blobs[1], self.strides)

    @property
    def temperature(self) -> float | Tensor:
        """The temperature in force; a 0-d tensor if it is learned."""
        if self.param.learn_temperature:
            return self.blobs[2].clamp(min=LEAST_TEMPERATURE).reshape(())
        return self.param.temperature if self._warmth is None else self._warmth


class HiddenCRF(DualDecompositionCRF, RunningStatistics):
    """The layer with `hidden`."""

    unbiased = True

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.eps, self.momentum = EPSILON, self.param.moving_average_fraction
        self.frozen = setup.phase == "TEST"
        channels, one = self.param.hidden, FillerParameter(value=1)
        filler = (
            self.param.hidden_filler if self.param.HasField("hidden_filler") else FillerParameter(type="msra")
        )
        self.add_blob((channels, 2 * setup.bottoms[1][1], 1, 1), filler)
        self.add_blob((channels,), one)
        self.add_blob((channels,))
        self.add_statistics((channels,), None, one)

    def grids(self, features: Tensor) -> list[Grid]:
        weight, bias = self.blobs[:2]
        return hidden_grids(features, self.blobs[-5], self.normalize, weight, bias, self.strides)

    def _write_halves(self, graph: OnnxGraph, features: OnnxValue) -> tuple[str, str]:
        first, second = self.blobs[-5].split(self.setup.bottoms[1][1], 1)
        return (
            graph.node("Conv", features, graph.weight("first", first)),
            graph.node("Conv", features, graph.weight("second", second)),
        )

    def _write_scores(self, graph: OnnxGraph, added: str) -> str:
        hidden = graph.node("Relu", self.write_normalize(graph, added))
        weight, bias = self.blobs[:2]
        return graph.node("Conv", hidden, graph.weight("weight", weight), graph.weight("bias", bias))

    def affine(self) -> tuple[Tensor, Tensor]:
        return self.blobs[-4], self.blobs[-3]

    def running(self) -> tuple[nn.Parameter, nn.Parameter]:
        return self.blobs[-2], self.blobs[-1]
