"""An ONNX file's description of itself, which the converter writes and evaluation reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError

KEY = "rlossctl"  # in the file's metadata
Head = Literal["scores", "softmax", "argmax"]


@dataclass(frozen=True)
class ModelCard:
    """A model file's description of itself.

    Attributes:
        input, output: names of the input image and of the first output.
        head: the output: class scores, probabilities from a softmax or sigmoid, or label maps.
        preprocessing_inside: whether the model takes photos, uint8 [N, H, W, 3], red first, of any size, and
            returns results at their size. Otherwise `preprocess` turns a photo into its input.
        largest_photo: (height, width) of the largest photo that such a model takes, or None for no limit.
        preprocess: how photos become the net's input, or None if unknown.
        num_classes, classes, palette: number of classes, their names and colours (red, green, blue).
        precision: fp32, fp16 or int8.
        folded: number of layers folded into others.
        losses: types of the prototxt's loss layers; empty if it has none, like most test nets.
        blobs: values of the graph that are the net's blobs -> their layer, in order.
        source: names and SHA-256 of the files from which the model was made, tool and dialect.
        version: version of rlossctl.
        dialect: the Caffe whose rules the net follows.
        untrained: layers that had no weights and hold what their fillers drew.
    """

    input: str | None = None
    output: str | None = None
    head: Head | Literal["sigmoid"] = "scores"
    preprocessing_inside: bool = False
    largest_photo: tuple[int, int] | None = None
    preprocess: Preprocess | None = None
    num_classes: int | None = None
    classes: list[str] | None = None
    palette: list[list[int]] | None = None
    precision: str = "fp32"
    folded: int = 0
    losses: list[str] = field(default_factory=list)
    blobs: dict[str, str] = field(default_factory=dict)
    source: dict[str, dict[str, str]] = field(default_factory=dict)
    version: str = ""
    dialect: str = ""
    untrained: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """The text for the file's metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, where: object = None) -> ModelCard:
        """Reads `to_json`'s text, ignoring fields that a later version may have added.

        Raises:
            NetError: the text is not of this form.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            known = {entry.name for entry in fields(cls)}
            content = {key: value for key, value in content.items() if key in known}
            if content.get("preprocess") is not None:
                content["preprocess"] = Preprocess.from_json(json.dumps(content["preprocess"]), where)
            if content.get("largest_photo") is not None:
                height, width = map(int, content["largest_photo"])
                content["largest_photo"] = height, width
            card = cls(**content)
            if card.head not in ("scores", "softmax", "sigmoid", "argmax"):
                raise ValueError(f"head {card.head!r}")
            if not all(isinstance(name, str) for pair in card.blobs.items() for name in pair):
                raise ValueError("blobs that are not names of values and layers")
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise NetError(
                f"the model's metadata {KEY!r} cannot be read",
                where=where,
                found=str(error),
                expected="the JSON that `rlossctl convert` writes",
                advice="convert the model again",
            ) from error
        return card
