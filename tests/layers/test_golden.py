"""Every registered layer against what Caffe itself computed: values, input and parameter gradients."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from rlossctl.net import registry

DIALECTS = {"layers": "rloss", "bvlc": "bvlc", "segnet": "segnet", "enet": "enet"}  # whose program recorded
# What the originals got wrong and the layers' docstrings name: nothing else of these cases may differ.
DEFECTS = {
    "accuracy_all_ignored": {"top/acc"},  # NaN
    "bn_learn_constant_input": {"top/y", "grad/x", "paramgrad/l/0"},  # NaN
    "bn_learn_offset100": {"top/y", "grad/x", "paramgrad/l/0"},  # variance by cancellation
}
TOLERANCE = 1e-5  # of the blob's largest magnitude
TESTS = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("RLOSSCTL_SHARED", TESTS.parent.parent / "shared"))


def recorded(folder: str) -> list[str]:
    """Names of the shared cases; one name to skip where the folder is absent."""
    files = sorted((SHARED / "golden" / folder).glob("*.npz"))
    files = [file for file in files if not file.stem.startswith("dense_")]  # tests/data replays those
    return [f"{folder}/{file.stem}" for file in files] or [f"{folder}/absent"]


@pytest.mark.parametrize("name", sorted(file.stem for file in (TESTS / "golden" / "layers").glob("*.npz")))
def test_recorded_case(golden, replay, name):
    fork = name.partition("_")[0]
    check(replay(golden / "layers" / f"{name}.npz", fork if fork in DIALECTS else "auto"))


@pytest.mark.parametrize("name", [name for folder in DIALECTS for name in recorded(folder)])
def test_every_shared_case(shared, replay, name):
    file = shared / "golden" / f"{name}.npz"
    folder, _, case = name.partition("/")
    if folder in ("segnet", "enet") and case in DEFECTS:
        errors = replay(file, folder)
        assert {key for key, error in errors.items() if not error <= TOLERANCE} == DEFECTS[case]
    else:
        check(replay(file, DIALECTS[folder]))


def test_every_layer_is_proven(golden, proofs):
    """By a case that Caffe recorded, or by a test that holds it to its formula and says so."""
    texts = [str(np.load(file)["prototxt"]) for file in (golden / "layers").glob("*.npz")]
    recorded = {kind for text in texts for kind in re.findall(r'\btype: "([A-Z]\w+)"', text)}
    by_formula = {proof.type for proof in proofs}
    unproven = set(registry.kinds()) - recorded - by_formula
    assert not unproven, "record a case, or mark a test of the formula with @pytest.mark.proves(type)"
    assert by_formula <= set(registry.kinds())


def test_every_type_with_a_gradient_has_a_recorded_one(golden, proofs):
    """The Backward column of docs/layers.md: recorded, or held to the formula."""
    cases = [np.load(file) for file in (golden / "layers").glob("*.npz")]
    texts = [
        str(case["prototxt"]) for case in cases if any(key.startswith(("grad/", "gradblob/")) for key in case)
    ]
    types = {kind for text in texts for kind in re.findall(r'\btype: "([A-Z]\w+)"', text)}
    kinds = registry.kinds().values()
    expected = {kind.type for kind in kinds if kind.differentiable}
    by_formula = {proof.type for proof in proofs if proof.gradient}
    assert expected - types == by_formula - types
    assert not types & {kind.type for kind in kinds if kind.role == "metric"}


def check(errors: dict[str, float]) -> None:
    assert errors, "the case compares nothing"
    wrong = {key: f"{error:.2g}" for key, error in errors.items() if not error <= TOLERANCE}
    assert not wrong
