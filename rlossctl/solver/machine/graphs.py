"""A pass forward and backward as two CUDA graphs: captured once, then replayed without Python.

Between the two, the terms of the loss are on their way to the host, which reads them while the backward pass
runs. torch's generators go on in each replay as they would without a graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rlossctl.errors import RlossError
from rlossctl.net import Net
from rlossctl.net.net import Result
from rlossctl.postponed import Doubt

WARM_UP = 3  # passes before the capture: they load kernels, and losses look at their inputs


class PassGraph:
    """The graphs of a net's pass for one set of input shapes.

    Args:
        net: the net, on a GPU.
        scaled: the loss is multiplied by `scale` before the backward pass.

    Attributes:
        result: of the replay before; the next one overwrites its tensors.
        values: what `stacked` made of the result and the doubts.
        doubts: checks of the pass.
    """

    def __init__(self, net: Net, scaled: bool) -> None:
        self._net = net
        self._blobs: list[Tensor] = []
        self._passes = 0
        self._inputs: dict[str, Tensor] = {}
        self._gradients: list[Tensor | None] = []
        self._graphs: tuple[Any, Any] | None = None
        self._scale = torch.ones((), device=net.device) if scaled else None
        self.result: Result | None = None
        self.values: Tensor | None = None
        self.doubts: list[Doubt] = []

    def takes(self, inputs: Mapping[str, Tensor]) -> bool:
        """Whether a batch can go through the graphs; captures them after the first passes.

        Raises:
            RlossError: the net cannot be captured.
        """
        self._passes += 1
        if self._passes <= WARM_UP:
            return False
        if self._graphs is None:
            try:
                with torch.cuda.device(self._net.device):
                    self._capture(inputs)
            except RuntimeError as error:
                raise _cannot(self._net, error) from error
        return {name: blob.shape for name, blob in inputs.items()} == {
            name: blob.shape for name, blob in self._inputs.items()
        }

    def forward(self, inputs: Mapping[str, Tensor]) -> Result:
        """Replays the forward pass with these inputs."""
        if self._graphs is None or self.result is None:
            raise RuntimeError("nothing was captured")
        for name, blob in inputs.items():
            self._inputs[name].copy_(blob, non_blocking=True)
        self._graphs[0].replay()
        return self.result

    def backward(self, scale: float = 1.0) -> None:
        """Replays the backward pass of the last forward, and adds its gradients to the blobs'."""
        if self._graphs is None:
            raise RuntimeError("nothing was captured")
        if self._scale is not None:
            self._scale.fill_(scale)
        found = zip(self._blobs, self._gradients, strict=True)
        pairs = [(blob, gradient) for blob, gradient in found if gradient is not None]
        for blob, gradient in pairs:
            if blob.grad is gradient:  # of the pass before: the replay would overwrite the sum so far
                blob.grad = gradient.clone()
        self._graphs[1].replay()
        for blob, gradient in pairs:
            blob.grad = gradient if blob.grad is None else blob.grad + gradient

    def _capture(self, inputs: Mapping[str, Tensor]) -> None:
        self._inputs = {name: blob.detach().clone() for name, blob in inputs.items()}
        self._blobs = [entry.tensor for entry in self._net.learnable if entry.tensor.requires_grad]
        forward, backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        pool = torch.cuda.graph_pool_handle()
        torch.cuda.synchronize()
        # A feed's thread may copy meanwhile: only this one must not do what a graph cannot hold.
        with torch.cuda.graph(forward, pool=pool, capture_error_mode="thread_local"):
            result = self._net.run(self._inputs, doubts=self.doubts)
            self.values = stacked(result, self.doubts)
        with torch.cuda.graph(backward, pool=pool, capture_error_mode="thread_local"):
            loss = result.loss if self._scale is None else result.loss * self._scale
            found = torch.autograd.grad(loss, self._blobs, allow_unused=True)
            self._gradients = [_like(*pair) for pair in zip(found, self._blobs, strict=True)]
        result.loss = result.loss.detach()
        self.result, self._graphs = result, (forward, backward)


def stacked(result: Result, doubts: list[Doubt]) -> Tensor | None:
    """The terms of the loss and the doubts' answers as one vector; None if there are none."""
    values = [value.detach() for value, _ in result.losses.values()]
    values += [doubt.wrong.to(torch.float32) for doubt in doubts]
    return torch.stack(values) if values else None


def _like(gradient: Tensor | None, blob: Tensor) -> Tensor | None:
    """The gradient in its blob's layout, which updates need to take all blobs at once."""
    if gradient is None or gradient.stride() == blob.stride():
        return gradient
    return torch.empty_like(blob).copy_(gradient)


def _cannot(net: Net, error: Exception) -> RlossError:
    return RlossError(
        "the net cannot be captured as a CUDA graph",
        where=net.file.path,
        found=str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
        expected="layers that read no value of a blob on the host, and inputs of one size",
        advice="train without --cuda-graphs",
    )
