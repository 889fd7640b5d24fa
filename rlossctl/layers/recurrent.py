"""BVLC's recurrent layers: LSTM, RNN and LSTMUnit. Time is the first axis, the batch the second."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from rlossctl.net.layer import Layer, Setup
from rlossctl.net.registry import register

States = tuple[Tensor, ...]


class Recurrent(Layer):
    """What LSTM and RNN share (recurrent_layer.cpp).

    Bottoms: x (T, N, ...), cont (T, N), an optional static input (N, ...), and with expose_hidden the first
    state(s), each (1, N, num_output). Tops: (T, N, num_output), and with expose_hidden the last state(s).
    cont 0 begins a new sequence: the previous state is multiplied by cont. Without expose_hidden the next
    pass starts from the last state; the first pass, and one after a change of N, starts from zeros. As in
    Caffe, no gradient flows from one pass to another, or through the exposed first and last states.
    """

    states: ClassVar[int]  # how many tensors pass from step to step
    gates: ClassVar[int]  # rows of the input weights in units of num_output

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.recurrent_param
        self.size = param.num_output
        self.exposed = self.states if param.expose_hidden else 0
        self.has_static = len(setup.bottoms) == 3 + self.exposed
        self._check()
        x = setup.bottoms[0]
        rows = self.gates * self.size
        self.add_blob((rows, torch.Size(x[2:]).numel()), param.weight_filler)
        self.add_blob((rows,), param.bias_filler)
        if self.has_static:
            self.add_blob((rows, torch.Size(setup.bottoms[2][1:]).numel()), param.weight_filler)
        self.add_blob((rows, self.size), param.weight_filler)
        for index in range(self.states):
            self.register_buffer(f"last{index}", torch.zeros(1, x[1], self.size), persistent=False)

    def _check(self) -> None:
        shapes, tops = self.setup.bottoms, self.setup.tops
        if not self.size:
            raise self.error("recurrent_param.num_output must be given", found=0, expected="1 or more")
        if len(shapes) not in (2 + self.exposed, 3 + self.exposed) or tops != 1 + self.exposed:
            raise self.error(
                "wrong number of bottoms or tops",
                found=f"{len(shapes)} bottoms, {tops} tops",
                expected=f"{2 + self.exposed} bottoms, or {3 + self.exposed} with a static input, "
                f"and {1 + self.exposed} tops",
                advice="expose_hidden: true adds bottoms for the first states and tops for the last",
            )
        x, cont = shapes[:2]
        state = (1, x[1], self.size) if len(x) > 1 else ()
        wrong_static = self.has_static and shapes[2][:1] != x[1:2]
        wrong_states = any(shape != state for shape in shapes[len(shapes) - self.exposed :])
        if len(x) < 2 or cont != x[:2] or wrong_static or wrong_states:
            raise self.error(
                "its bottoms do not match",
                found=", ".join(map(str, shapes)),
                expected="x (T, N, ...), cont (T, N), a static input (N, ...), states (1, N, num_output)",
            )

    def forward(self, x: Tensor, cont: Tensor, *rest: Tensor) -> Tensor | tuple[Tensor, ...]:
        inputs = F.linear(x.flatten(2) if x.dim() > 2 else x.unsqueeze(2), self.blobs[0], self.blobs[1])
        if self.has_static:
            inputs = inputs + F.linear(rest[0].reshape(len(rest[0]), -1), self.blobs[2])
        states = tuple(state.detach() for state in rest[-self.exposed :]) if self.exposed else self._last(x)
        outputs = []
        for step, keep in zip(inputs.split(1), cont.detach().unsqueeze(2).split(1), strict=True):
            output, states = self.step(step, keep, states)
            outputs.append(output)
        if not x.is_meta and not self.exposed:
            for index, state in enumerate(states):
                setattr(self, f"last{index}", state.detach())
        top = torch.cat(outputs)
        return (top, *(state.detach() for state in states)) if self.exposed else top

    def step(self, inputs: Tensor, keep: Tensor, states: States) -> tuple[Tensor, States]:
        """Output and states of one time step, from transformed inputs (1, N, rows) and cont (1, N, 1)."""
        raise TypeError(f"{type(self).__name__} has no step")

    def _last(self, x: Tensor) -> States:
        states = [getattr(self, f"last{index}") for index in range(self.states)]
        if x.is_meta or states[0].shape[1] != x.shape[1]:
            return tuple(x.new_zeros(1, x.shape[1], self.size) for _ in states)
        return tuple(state.to(x) for state in states)  # a net may change its device between passes


@register("LSTM", bottoms=(2, 5), tops=(1, 3), onnx=False)
class LSTM(Recurrent):
    """Long short-term memory (lstm_layer.cpp); see Recurrent for bottoms, tops and memory.

    Blobs: W_xc, b_c, W_xc_static (with a static input), W_hc; gates in the order i, f, o, g.
    """

    states, gates = 2, 4

    def step(self, inputs: Tensor, keep: Tensor, states: States) -> tuple[Tensor, States]:
        hidden, cell = states
        cell, hidden = lstm_unit(cell, inputs + F.linear(hidden * keep, self.blobs[-1]), keep)
        return hidden, (hidden, cell)


@register("RNN", bottoms=(2, 4), tops=(1, 2), onnx=False)
class RNN(Recurrent):
    """h = tanh(W_hh h + W_xh x + b_h), o = tanh(W_ho h + b_o) (rnn_layer.cpp); see Recurrent.

    Blobs: W_xh, b_h, W_xh_static (with a static input), W_hh, W_ho, b_o. The first top holds o, the exposed
    state is h.
    """

    states, gates = 1, 1

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        param = setup.message.recurrent_param
        self.add_blob((self.size, self.size), param.weight_filler)
        self.add_blob((self.size,), param.bias_filler)

    def step(self, inputs: Tensor, keep: Tensor, states: States) -> tuple[Tensor, States]:
        recurrent, out, bias = self.blobs[-3], self.blobs[-2], self.blobs[-1]
        hidden = torch.tanh(inputs + F.linear(states[0] * keep, recurrent))
        return torch.tanh(F.linear(hidden, out, bias)), (hidden,)


@register("LSTMUnit", bottoms=3, tops=2, onnx=False)
class LSTMUnit(Layer):
    """One step of an LSTM: c = cont f c_before + i g, h = o tanh(c) (lstm_unit_layer.cpp).

    Bottoms: the previous cells (1, N, D), the gates i, f, o, g before their sigmoids and tanh (1, N, 4 D),
    and cont (1, N). Tops: c and h. No gradient to cont.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        cells, gates, cont = setup.bottoms
        if len(cells) != 3 or gates != (1, cells[1], 4 * cells[2]) or cont != (1, cells[1]):
            raise setup.error(
                "its bottoms do not match",
                found=f"{cells}, {gates}, {cont}",
                expected="(1, N, D), (1, N, 4 D), (1, N)",
            )

    def forward(self, cells: Tensor, gates: Tensor, cont: Tensor) -> tuple[Tensor, Tensor]:
        return lstm_unit(cells, gates, cont.detach().unsqueeze(2))


def lstm_unit(cell: Tensor, gates: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """The new cells and outputs (1, N, D) from gates (1, N, 4 D) and cont (1, N, 1)."""
    i, f, o, g = gates.chunk(4, dim=2)
    cell = keep * f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return cell, o.sigmoid() * cell.tanh()
