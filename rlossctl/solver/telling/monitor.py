"""What is watched while a net trains: the displayed loss, the objective's terms, requests to stop."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypedDict

from rlossctl.errors import RlossError
from rlossctl.solver.machine.processes import Processes
from rlossctl.solver.telling.figures import Term

SHARE_WINDOW = 5  # displayed iterations over which the terms are averaged before they are compared
# The demo's best weight pulls up to one and a half times as hard as the labels; six times as much makes its
# classes collapse (docs/densecrf.md).
TOO_HARD = 3


class Window(TypedDict):
    """The last losses, how many there have been in all, and their displayed mean."""

    losses: list[float]
    count: int
    value: float


class SmoothedLoss:
    """Caffe's displayed loss: the mean of the last `size` losses, a running mean until there are so many."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._losses: list[float] = []
        self._count = 0
        self.value = 0.0

    def restart(self) -> None:
        """Caffe forgets the window at the start of every Step call."""
        self._losses, self._count, self.value = [], 0, 0.0

    def add(self, loss: float) -> float:
        """The mean with this loss (Solver::UpdateSmoothedLoss)."""
        if len(self._losses) < self._size:
            self._losses.append(loss)
            self.value += (loss - self.value) / len(self._losses)
        else:
            slot = self._count % self._size
            self.value += (loss - self._losses[slot]) / self._size
            self._losses[slot] = loss
        self._count += 1
        return self.value

    def state(self) -> Window:
        """The window, fit for JSON."""
        return {"losses": list(self._losses), "count": self._count, "value": self.value}

    def restore(self, state: Window) -> None:
        """Goes on from `state()`, unless average_loss was changed in between."""
        losses = list(state["losses"])
        if len(losses) <= self._size:
            self._losses, self._count, self.value = losses, state["count"], state["value"]


class TermShares:
    """Says once when a regularizer pulls much harder than the losses of the labels together.

    Nobody guesses a regularizer's weight: DenseCRFLoss counts pairs of pixels, others are means. Its value
    says little, for much of it is the same for any segmentation; what counts is how hard it pulls at the
    scores (see `Pulls`). One that pulls too hard makes large classes swallow the rest.

    Args:
        regularizers: the blobs of the terms that are regularizers.
    """

    def __init__(self, regularizers: Collection[str]) -> None:
        self._regularizers = regularizers
        self._recent: deque[Mapping[str, float]] = deque(maxlen=SHARE_WINDOW)
        self._told = False

    def add(self, terms: Mapping[str, Term], pulls: Mapping[str, float]) -> str | None:
        """Takes the terms and their pulls of one iteration, by blob; the advice, when first due."""
        if not pulls or pulls.keys() <= set(self._regularizers):
            return None
        self._recent.append(pulls)
        if self._told or len(self._recent) < SHARE_WINDOW:
            return None
        means = {name: math.fsum(entry[name] for entry in self._recent) / SHARE_WINDOW for name in pulls}
        labels = math.fsum(mean for name, mean in means.items() if name not in self._regularizers)
        for name, mean in means.items():
            if name in self._regularizers and mean > TOO_HARD * labels:
                self._told = True
                return (
                    f"{name} pulls much harder than the losses of the labels: {mean:.3g} against "
                    f"{labels:.3g} (sums of absolute gradients), with loss_weight {terms[name].weight:g}. If "
                    "small classes vanish, lower its loss_weight."
                )
        return None


class Requests:
    """SIGINT and SIGTERM ask to stop (with a snapshot), SIGHUP for a snapshot.

    A second SIGINT interrupts at once. A second SIGTERM changes nothing: batch systems send it to a process
    and to its group.

    Attributes:
        stop: whether a request to stop was taken.
        signal: the number of the signal that asked for it, 0 before that.
    """

    def __init__(self) -> None:
        self._pending: deque[str] = deque()
        self._received = 0  # the signal that came last to this process
        self.stop = False
        self.signal = 0

    def take(self) -> str | None:
        """The oldest request that was not taken yet: "stop" or "snapshot"."""
        request = self._pending.popleft() if self._pending else None
        self.stop = self.stop or request == "stop"
        return request

    def take_together(self, processes: Processes) -> str | None:
        """The strongest request that any process has taken: all stop, or write a snapshot, at once."""
        request = self.take()
        if processes.count == 1:
            return request
        self.agree(processes)
        asked = processes.gather([request == "snapshot"])
        return "stop" if self.stop else "snapshot" if [1.0] in asked else None

    def agree(self, processes: Processes) -> None:
        """All stop if one stops."""
        signals = [int(number) for (number,) in processes.gather([self.signal if self.stop else -1])]
        if max(signals) >= 0:
            self.stop, self.signal = True, max(signals)

    @contextlib.contextmanager
    def listening(self) -> Iterator[Requests]:
        """Handles the signals inside the block; outside the main thread Python does not allow it."""
        self._reset()
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        handlers = {signal.SIGINT: self._interrupted, signal.SIGTERM: self._terminated}
        if hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = lambda *_: self._pending.append("snapshot")
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._reset()

    def _reset(self) -> None:
        self._pending.clear()
        self.stop, self.signal, self._received = False, 0, 0

    def _interrupted(self, *_: object) -> None:
        if self._received == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked(signal.SIGINT)

    def _terminated(self, *_: object) -> None:
        self._asked(signal.SIGTERM)

    def _asked(self, number: int) -> None:
        if not self._received:
            self._pending.append("stop")
        self.signal = self._received = number


def check_finite(iteration: int, loss: float, terms: Mapping[str, Term]) -> None:
    """Raises an RlossError if the objective is not a number; nothing has been updated by then."""
    if math.isfinite(loss):
        return
    bad = {name: value for name, (value, _) in terms.items() if not math.isfinite(value)}
    raise RlossError(
        f"the loss is not a finite number in iteration {iteration}",
        found=", ".join(f"{name} = {value:g}" for name, value in bad.items()) or f"objective {loss:g}",
        expected="finite values in every blob with a loss weight",
        advice="the weights are those of the iteration before; lower base_lr or the loss weights, set "
        "clip_gradients, or check the data, then resume from a snapshot",
    )


def means(passes: Sequence[Mapping[str, Term]]) -> dict[str, Term]:
    """The terms of one iteration from those of its passes."""
    return {
        name: Term(math.fsum(terms[name].value for terms in passes) / len(passes), term.weight)
        for name, term in passes[0].items()
    }
