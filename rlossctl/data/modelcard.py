"""What an ONNX file says about itself: written by the converter, read by evaluation, one place for both."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError

KEY = "rlossctl"  # of the file's metadata
Head = Literal["scores", "softmax", "argmax"]


@dataclass(frozen=True)
class ModelCard:
    """A model file's description of itself.

    Attributes:
        input, output: names of the image and of what it returns first.
        head: what it returns: class scores, probabilities by softmax or sigmoid, or label maps.
        preprocessing_inside: whether it takes photos, uint8 [N, H, W, 3], red first, of any size, and answers
            at their size; otherwise its input is what `preprocess` makes of a photo.
        largest_photo: (height, width) of the largest photo that it takes then, or None where any will do.
        preprocess: how photos become the net's input, or None where nothing says it.
        num_classes, classes, palette: how many, their names, their colours (red, green, blue).
        precision: fp32, fp16 or int8.
        folded: how many layers were folded into others.
        losses: types of the prototxt's loss layers; empty where it has none, as most test nets.
        blobs: values of the graph that are the net's blobs -> their layer, in order.
        source: names and SHA-256 of the files that it was made from.
        version: of rlossctl.
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

    def to_json(self) -> str:
        """The text of the file's metadata."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, where: object = None) -> ModelCard:
        """Reads `to_json`'s text; what a later version may have added is left out.

        Raises:
            NetError: not such a text.
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
                raise ValueError("blobs that are no names of values and layers")
        except (ValueError, TypeError, AttributeError) as error:
            raise NetError(
                f"the model's metadata {KEY!r} cannot be read",
                where=where,
                found=str(error),
                expected="the JSON that `rlossctl convert` writes",
                advice="convert the model again",
            ) from error
        return card
