"""A CRF on the net's own scores, solved inside the net: DualDecompositionCRF."""

from __future__ import annotations

from torch import Tensor

from rlossctl.grid import dual_decomposition, linear_grids
from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register
from rlossctl.prototxt.messages import FillerParameter

LEAST_TEMPERATURE = 0.01  # of a learned one


@register("DualDecompositionCRF", source="rlossctl", bottoms=2, tops=(1, 2))
class DualDecompositionCRF(Layer):
    """Max-marginals of a CRF between neighbours, by dual decomposition (rlossctl.grid.dual_decomposition).

    Bottoms: unary scores (N, C, h, w) and features (N, F, h, w). The pairwise score of labels a and b of two
    pixels `stride` apart (repeated; 1 and 2) in a row or column is row C a + b of weight [f(left or upper) ;
    f(right or lower)] + bias. Blobs: weight (C^2, 2 F, 1, 1), bias (C^2), and with learn_temperature the
    temperature (1), kept at 0.01 or more. `iterations` (5) with `step` (0: 1 / max(h, w)); temperature (2)
    smooths the maximum, 0 takes it as it is. In TEST an image stops when its dual value rises by `tolerance`
    (1e-4; 0 or less: never). Tops: the marginals (N, C, h, w), scores as from a classifier, and the dual
    value of each iteration (N, iterations).
    """

    compilable = False

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.param = setup.message.dual_decomposition_crf_param
        self.strides = list(self.param.stride) or [1, 2]
        self._check()
        classes, features = setup.bottoms[0][1], setup.bottoms[1][1]
        self.add_blob((classes**2, 2 * features, 1, 1), self.param.weight_filler)
        self.add_blob((classes**2,), self.param.bias_filler)
        if self.param.learn_temperature:
            self.add_blob((1,), FillerParameter(type="constant", value=self.param.temperature))
        tolerates = setup.phase == "TEST" and self.param.tolerance > 0
        self.tolerance = self.param.tolerance if tolerates else None

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

    def forward(self, unary: Tensor, features: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        with self.naming():
            found = dual_decomposition(
                unary,
                linear_grids(features, self.blobs[0], self.blobs[1], self.strides),
                self.param.iterations,
                self.temperature,
                self.param.step,
                self.tolerance,
            )
        return (found.scores, found.dual) if self.setup.tops > 1 else found.scores

    @property
    def temperature(self) -> float | Tensor:
        """The temperature in force; a 0-d tensor if it is learned."""
        if len(self.blobs) < 3:
            return self.param.temperature
        return self.blobs[2].clamp(min=LEAST_TEMPERATURE).reshape(())
