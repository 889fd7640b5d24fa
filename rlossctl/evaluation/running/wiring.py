"""Finds how images go into an ONNX file and what of its answer is read."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlossctl.evaluation.running.graph_facts import Ending, GraphFacts, read_facts
from rlossctl.evaluation.running.intake import Intake
from rlossctl.evaluation.running.named import Reading
from rlossctl.evaluation.running.ports import (
    FLOATS,
    ImagePort,
    ScorePort,
    Seen,
    holds_ids,
    image_port,
    score_axes,
    score_port,
)
from rlossctl.evaluation.running.room import Room
from rlossctl.evaluation.running.sessions import Session
from rlossctl.evaluation.running.trial import seen_without_running, try_out
from rlossctl.weights.onnxmemory import bytes_per_pixel

_USUAL = 256  # a side for which every net's shapes are right


@dataclass(frozen=True)
class Wiring:
    """How images go into a session's model and what of its answer is read.

    Attributes:
        image, answer: input and output.
        channels: the number of score channels, or what the file says instead of a number.
        ending: what the graph tells about the output.
        multiple: sides must be multiples of this.
        plain: whether input and output are float32 [N, C, H, W].
    """

    image: ImagePort
    answer: ScorePort
    channels: object
    ending: Ending = field(default_factory=Ending)
    multiple: int = 1
    plain: bool = True

    def intake(self, model: Session) -> Intake:
        """What photos must be, with the memory that there is for the session."""
        room = Room(functools.partial(self._need, model.path), model.memory)
        return Intake(self.image.size, self.image.channels == 1, self.image.raw, self.multiple, room)

    def _need(self, path: Path) -> float | None:
        """Bytes for each pixel, from a pass over an image of usual size."""
        height, width = (size or _USUAL for size in self.image.size)
        shape = self.image.shape(self.image.at_once or 1, height, width)
        return bytes_per_pixel(path, self.image.name, shape, height * width)


def wire(model: Session, reading: Reading) -> Wiring:
    """Finds the input and the output of a file: from its metadata, else from its graph and a trial.

    Raises:
        NetError: it has no such input or output, or several outputs that may be the prediction.
        UsageError: the output that the user names does not exist, or is not a map.
    """
    session, card = model.session, model.card
    facts = read_facts(model.path) if card is None else GraphFacts({})
    image = image_port(session.get_inputs(), card.input if card else None, facts.channels_last, model.path)
    outputs = session.get_outputs()
    seen, multiple = seen_without_running(image, outputs), 1
    if card is None and not model.builds_engines:
        seen, multiple = try_out(session, image, outputs)
    ids = frozenset(
        entry.name for entry in outputs if holds_ids(entry.type) or facts.ending(entry.name).kind == "ids"
    )
    wanted = reading.output or (card.output if card else None)
    answer = score_port(outputs, wanted, _maps(outputs, seen, image, ids), ids, model.path)
    kind = next(entry.type for entry in outputs if entry.name == answer.name)
    plain = image.plain and answer.axes == "nchw" and kind == "tensor(float)"
    channels = answer.channels(seen.shapes[answer.name])
    return Wiring(image, answer, channels, facts.ending(answer.name), multiple, plain)


def _maps(outputs: Sequence[Any], seen: Seen, image: ImagePort, ids: frozenset[str]) -> dict[str, str]:
    """The axes of the outputs that may be maps, by name."""
    found = {}
    for entry in outputs:
        if entry.type in FLOATS or entry.name in ids:
            axes = score_axes(seen.shapes[entry.name], seen, image, entry.name in ids)
            found.update({} if axes is None else {entry.name: axes})
    return found
