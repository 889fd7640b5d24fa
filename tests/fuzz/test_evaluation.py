"""Damaged files of evaluation: states of interrupted ones, and what a model file says of itself."""

from __future__ import annotations

import contextlib
import zipfile

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rlossctl.data.modelcard import ModelCard
from rlossctl.errors import RlossError
from rlossctl.evaluation.scoring.state import State
from rlossctl.evaluation.scoring.tally import Tally

from . import seeds
from .bounds import bounded, fresh, fuzz
from .mutation import damaged_bytes, damaged_text, damaged_zips

KEY: dict[str, object] = {"model": "m", "list": "l", "ignore": 255}


def counted() -> Tally:
    """Two images of three classes, the first of them counted."""
    tally = Tally(2, 3, 255)
    pairs = np.zeros((256, 256), np.int64)
    pairs[1, 1], pairs[2, 0], pairs[255, 0] = 5, 3, 4
    tally.add_pairs(0, pairs)
    return tally


STATES = seeds.evaluation_states(counted(), KEY)
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@fuzz
@given(data=damaged_bytes(STATES) | damaged_zips(STATES, PACKINGS))
def test_states(file, data):
    path = fresh(file.with_suffix(".state"), data)
    with bounded(), contextlib.suppress(RlossError):
        State(str(path), "m").load(Tally(2, 3, 255), KEY)


@fuzz
@given(text=damaged_text(seeds.CARDS) | st.sampled_from(["", "[" * 100_000, "null", "1", '"x"']))
def test_model_cards(text):
    with bounded(), contextlib.suppress(RlossError):
        card = ModelCard.from_json(text, "m.onnx")
        assert ModelCard.from_json(card.to_json(), "m.onnx") == card
