"""ONNX Runtime on a GPU, with its input and scores in torch tensors on the same GPU."""

from __future__ import annotations

import numpy as np
import torch

from rlossctl.evaluation.running.on_device import OnDevice
from rlossctl.evaluation.running.onnx_runners import OnnxRunner
from rlossctl.evaluation.running.sessions import Session
from rlossctl.evaluation.running.wiring import Wiring


def on_gpu(model: Session, wiring: Wiring) -> OnnxRunner:
    """The runner for a session on a GPU: a BoundRunner if torch reaches the same GPU and the model takes and
    gives float32 [N, C, H, W].

    If not, scores are copied to the CPU, and classes are taken and counted there; `backend` says so.
    """
    why = "its input or output is not float32 [N, C, H, W]"
    if model.gpu is not None and model.gpu < torch.cuda.device_count():
        if wiring.plain:
            return BoundRunner(model, torch.device("cuda", model.gpu), wiring)
    else:
        why = f"PyTorch {torch.__version__} does not reach the GPU"
    runner = OnnxRunner(model, wiring=wiring)
    runner.backend += f", scores copied to the CPU: {why}"
    return runner


class BoundRunner(OnDevice, OnnxRunner):
    """`OnnxRunner` whose session reads and writes torch tensors on its own device.

    Both buffers serve all batches of one size. For a new size, ONNX Runtime allocates the scores once, since
    their size is not known in advance.

    Args:
        model: an open file that gives scores.
        device: torch's name for the session's device; "cpu" for a session on the CPU.
        wiring: what `wire` found, if it was called already.
    """

    def __init__(self, model: Session, device: torch.device, wiring: Wiring | None = None) -> None:
        OnnxRunner.__init__(self, model, wiring=wiring)
        OnDevice.__init__(self, device)
        self.backend = f"{model.backend}, scores kept on {device}"
        self._binding = model.session.io_binding()
        self._bound: torch.Tensor | None = None
        self._answer: torch.Tensor | None = None

    def _scores(self, batch: torch.Tensor) -> torch.Tensor:
        shape = tuple(batch.shape)
        self._session.check_size(self._wiring.image, shape)
        with self._session.failing(shape):
            if batch is not self._bound:
                self._bind(batch)
            if self.device.type == "cuda":  # the session has its own stream
                torch.cuda.current_stream(self.device).synchronize()
            self._session.session.run_with_iobinding(self._binding)
            self._binding.synchronize_outputs()
            if self._answer is None:
                self._answer = self._keep_answer()
        return self._answer

    def _bind(self, batch: torch.Tensor) -> None:
        place, number = self.device.type, self.device.index or 0
        address = batch.data_ptr()
        self._binding.bind_input(
            self._wiring.image.name, place, number, np.float32, tuple(batch.shape), address
        )
        self._binding.bind_output(self._wiring.answer.name, place, number)
        self._bound, self._answer = batch, None

    def _keep_answer(self) -> torch.Tensor:
        """The first scores of a new size, in a tensor that the session writes to from now on."""
        (first,) = self._binding.copy_outputs_to_cpu()
        answer = torch.from_numpy(first).to(self.device, copy=True)
        place, number = self.device.type, self.device.index or 0
        self._binding.bind_output(
            self._wiring.answer.name, place, number, np.float32, first.shape, answer.data_ptr()
        )
        return answer
