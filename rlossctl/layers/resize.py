"""Resize of many forks: one rule for the pixels, four ways to state the size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register
from rlossctl.prototxt.messages import ResizeLayerParameter

NEAREST = ResizeLayerParameter.NEAREST


@register("Resize", source="several forks", bottoms=(1, 2))
class Resize(Layer):
    """Top row t comes from bottom row t * in / out, so that the upper left corners agree. BILINEAR weighs the
    two rows around it; a row beyond the last one counts as 0, so that values fade at the lower and right
    border. NEAREST takes the row above.

    The forks state the size in ways that tell them apart: (a) happynear's and bearpaw's Caffe, DenseBox and
    others have is_pyramid_test, with height and width, or if it is true out_height_scale and out_width_scale;
    (b) Lamply's adds `type` and resize_ratio, the factor of both sides; (c) Wei Zhen's, in MSRCCS, has
    function_type SIZE_GIVEN with output_size, BLOB_ALIGN with a second bottom, or FACTOR_GIVEN with
    resize_factor, for square blobs, and intepolation_type (sic); (d) piiswrong's has top_height and
    top_width, a multiple of the bottom's, and repeats values. height and width alone are refused: in philkr's
    fork they mean aligned corners, and a blur if the size shrinks. Not reproduced: reading behind the blob
    where a size is not a multiple (here: the last row), and the gradients of (c), which its versions compute
    in different ways.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if len(setup.bottoms[0]) != 4:
            raise setup.error("needs a 4-D bottom", found=setup.bottoms[0])
        param = setup.message.resize_param
        self.param = param
        self.factor: float | None = None  # of NEAREST and (c), where it is not out / in
        if param.HasField("function_type"):
            self.kind = self._stated("intepolation_type", param.intepolation_type)
            self._check_square()
            self.factor = (
                param.resize_factor if param.function_type == ResizeLayerParameter.FACTOR_GIVEN else None
            )
        elif param.HasField("top_height"):
            self.kind = NEAREST
            self._check_multiple()
        else:
            self._check_fork()
            self.kind = param.type
            self.factor = param.resize_ratio if param.HasField("resize_ratio") else None
        if len(setup.bottoms) == 2 and param.function_type != ResizeLayerParameter.BLOB_ALIGN:
            raise setup.error(
                "takes no second bottom", found="2 bottoms", expected="function_type: BLOB_ALIGN"
            )
        if min(self._size(setup.bottoms[0], setup.bottoms[-1])) < 1:
            raise setup.error("its size is not stated, or 0", found=str(param).replace("\n", " ") or None)

    def _stated(self, name: str, value: int) -> int:
        if not self.param.HasField(name):
            raise self.error(f"does not say {name}", expected="BILINEAR or NEAREST")
        return value

    def _check_square(self) -> None:
        rows, columns = self.setup.bottoms[0][2:]
        align = self.param.function_type == ResizeLayerParameter.BLOB_ALIGN
        if rows != columns:
            raise self.error("function_type is for square blobs", found=f"{rows}x{columns}")
        if align and (len(self.setup.bottoms) != 2 or len(self.setup.bottoms[1]) != 4):
            raise self.error("BLOB_ALIGN takes its size from a second bottom", found=self.setup.bottoms)

    def _check_multiple(self) -> None:
        size, param = self.setup.bottoms[0][2:], self.param
        if param.top_height % size[0] or param.top_width % size[1]:
            raise self.error(
                "top_height and top_width are multiples of the bottom's size",
                found=f"{param.top_height}x{param.top_width}",
                expected=f"multiples of {size[0]}x{size[1]}",
            )

    def _check_fork(self) -> None:
        """Whether the fields say whose Resize this is, and all that it needs."""
        param = self.param
        if not (param.HasField("is_pyramid_test") or param.HasField("type")):
            raise self.error(
                "does not say whose Resize it is",
                found=str(param).replace("\n", " ") or "no resize_param",
                expected="is_pyramid_test, type, function_type or top_height, which tell the forks apart",
                advice="add is_pyramid_test: false for the Caffe of happynear, bearpaw or DenseBox; philkr's "
                "aligns corners, as Interp does, but blurs what it shrinks",
            )
        if param.HasField("resize_ratio"):
            self._stated("type", param.type)
        if param.type == NEAREST and not param.resize_ratio > 0:
            raise self.error("NEAREST goes by resize_ratio", found="no resize_ratio", expected="above 0")

    def _size(self, shape: Sequence[int], reference: Sequence[int]) -> tuple[int, int]:
        param, (rows, columns) = self.param, shape[2:]
        if param.HasField("function_type"):
            side = {
                ResizeLayerParameter.SIZE_GIVEN: param.output_size,
                ResizeLayerParameter.BLOB_ALIGN: reference[2],
                ResizeLayerParameter.FACTOR_GIVEN: int(rows * param.resize_factor),
            }[param.function_type]
            return side, side
        if param.HasField("top_height"):
            return param.top_height, param.top_width
        if param.is_pyramid_test:
            return int(rows * param.out_height_scale), int(columns * param.out_width_scale)
        if param.HasField("height"):
            return param.height, param.width
        return int(rows * param.resize_ratio), int(columns * param.resize_ratio)

    def forward(self, x: Tensor, reference: Tensor | None = None) -> Tensor:
        height, width = self._size(x.shape, x.shape if reference is None else reference.shape)
        if self.kind == NEAREST:
            rows, columns = self._nearest(x, 2, height), self._nearest(x, 3, width)
            return x.index_select(2, rows).index_select(3, columns)
        return self._weights(x, 2, height) @ x @ self._weights(x, 3, width).T

    def _places(self, x: Tensor, axis: int, size: int) -> Tensor:
        """Where each place of the top lies on an axis of the bottom, as Caffe computes it, in float32."""
        places = torch.arange(size, device=x.device, dtype=torch.float32)
        own = self.kind == NEAREST or self.param.HasField("function_type")
        if own:
            return places / torch.tensor(self.factor or size / x.shape[axis], dtype=torch.float32)
        return places * torch.tensor(x.shape[axis] / size, dtype=torch.float32)

    def _nearest(self, x: Tensor, axis: int, size: int) -> Tensor:
        return self._places(x, axis, size).long().clamp(max=x.shape[axis] - 1)

    def _weights(self, x: Tensor, axis: int, size: int) -> Tensor:
        """(size, in): max(0, 1 - distance)."""
        taken = torch.arange(x.shape[axis], device=x.device, dtype=torch.float32)
        distance = (self._places(x, axis, size)[:, None] - taken).abs()
        return (1 - distance).clamp(min=0).to(x.dtype)

    def window(self) -> tuple[float, float]:
        size = self._size(self.setup.bottoms[0], self.setup.bottoms[-1])[1]
        return 1.0, self.setup.bottoms[0][3] / size
