"""The pictures on the page: a photo once, and what lies over it as small PNGs that let it through."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from rlossctl.evaluation.predicting.outputs import Look
from rlossctl.evaluation.reporting.pictures import RIGHT, WRONG
from rlossctl.evaluation.scoring.evaluation import Picture

LARGEST = 12 * 2**20  # bytes of all pictures on a page; what does not fit is made smaller
SIDES = (640, 500, 400, 320, 240, 160)  # pixels of the longer side, the largest that fits
_SAMPLE = 8  # images that are tried
_CODES = {0: (RIGHT, 0.62), 1: (WRONG, 0.85), 2: ((255, 255, 255), 0.6)}  # of the map of errors


class Layer(NamedTuple):
    """What lies over the photo: how the page calls it, its caption, and a PNG as a data URI."""

    key: str
    caption: str
    uri: str


class Layers(NamedTuple):
    """The photo as a data URI, its (width, height) on the page, and what lies over it."""

    photo: str
    size: tuple[int, int]
    over: list[Layer]


def choose_side(shown: Sequence[Sequence[Picture]], look: Look, ignore: int) -> int:
    """The longer side, in pixels, with which all images together stay below LARGEST, by a sample of them.

    Args:
        shown: for each image, the pictures of all models.
    """
    sample = shown[:: max(1, len(shown) // _SAMPLE)]
    for side in SIDES[:-1]:
        made = [
            draw_layers(pictures, [""] * (2 * len(pictures)), look, (ignore, side)) for pictures in sample
        ]
        bytes_each = sum(len(one.photo) + sum(len(layer.uri) for layer in one.over) for one in made)
        if bytes_each * len(shown) / max(1, len(sample)) <= LARGEST:
            return side
    return SIDES[-1]


def draw_layers(
    pictures: Sequence[Picture], captions: Sequence[str], look: Look, limits: tuple[int, int]
) -> Layers:
    """The layers of one image: truth, then each model's prediction, then each model's errors.

    Args:
        pictures: of each model.
        captions: of the predictions, then of the errors; as many as there are layers but the truth.
        limits: the ignore label, and the longer side in pixels.
    """
    ignore, side = limits
    first = pictures[0]
    scale = min(1.0, side / max(first.truth.shape))
    height, width = (max(1, round(length * scale)) for length in first.truth.shape)
    photo = cv2.resize(first.photo, (width, height), interpolation=cv2.INTER_AREA)
    opacity = np.full(256, round(255 * look.opacity), np.uint8)
    opacity[ignore] = opacity[255] = 0
    size = height, width
    maps = [first.truth, *(one.prediction for one in pictures)]
    uris = [_png(_nearest(ids, size), look.colours, opacity) for ids in maps]
    uris += [_png(_nearest(_codes(picture, ignore), size), *_code_colours()) for picture in pictures]
    over = [Layer(*each) for each in zip(layer_keys(len(pictures)), ["truth", *captions], uris, strict=True)]
    return Layers(_jpeg(photo), (width, height), over)


def layer_keys(models: int) -> list[str]:
    """How the page calls what lies over a photo."""
    return ["truth", *(f"{kind} {index}" for kind in ("prediction", "errors") for index in range(models))]


def _codes(picture: Picture, ignore: int) -> np.ndarray:
    wrong = (picture.truth != picture.prediction).astype(np.uint8)
    return np.where(picture.truth == ignore, np.uint8(2), wrong)


def _code_colours() -> tuple[np.ndarray, np.ndarray]:
    colours, opacity = np.zeros((256, 3), np.uint8), np.zeros(256, np.uint8)
    for code, (colour, share) in _CODES.items():
        colours[code], opacity[code] = colour, round(255 * share)
    return colours, opacity


def _nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(cv2.resize(values, size[::-1], interpolation=cv2.INTER_NEAREST))


def _png(ids: np.ndarray, colours: np.ndarray, opacity: np.ndarray) -> str:
    image = Image.fromarray(ids)
    image.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=opacity.tobytes(), optimize=True)
    return _uri("png", buffer)


def _jpeg(photo: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(photo[:, :, ::-1])).save(buffer, "JPEG", quality=82)
    return _uri("jpeg", buffer)


def _uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
