"""Damaged configurations of other programs: read, or refused."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given

from rlossctl.converters.programs import PROGRAMS, plan_of, read
from rlossctl.errors import DataError, UsageError

from .bounds import bounded, fresh, fuzz
from .mutation import damaged_text

CONFIGS = [
    json.dumps(config)
    for config in (
        {
            "arch": {"type": "ENet", "args": {"freeze_bn": True}},
            "train_loader": {"type": "VOC", "args": {"batch_size": 8, "augment": True, "base_size": 400}},
            "optimizer": {"type": "Adam", "args": {"lr": 0.02, "betas": [0.9, 0.99]}},
            "trainer": {"epochs": 80, "monitor": "off"},
        },
        {
            "MODEL": {"NAME": "seg_aspp_resnet", "LEARN_PAIRWISE_TERMS": True, "IMAGE_SIZE": [513, 513]},
            "TRAIN": {"BATCH_SIZE": 8, "LR_STEP": [3, 4], "HEAD_LR": "10x"},
        },
    )
]
ARGUMENTS = [
    "train.py --loss_gatedcrf_sts true --dataset cs --optimizer_kwargs '{\"lr\": 0.1}' --batch_size 2"
]


@fuzz
@given(text=damaged_text(CONFIGS))
def test_files(file, text):
    path = fresh(file.with_suffix(".json"), text.encode("utf-8", "surrogatepass"))
    with bounded(), contextlib.suppress(DataError, UsageError):
        _plans(path)


@fuzz
@given(text=damaged_text(ARGUMENTS))
def test_arguments(text):
    with bounded(), contextlib.suppress(UsageError):
        _plans(text)


def _plans(source) -> None:
    found = read(source)
    for program in PROGRAMS if found else ():
        if program.fits(found):
            assert len(plan_of(program, found).refused) <= len(found.values)
