"""Evaluations that are interrupted, resumed, refused, or spread over processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from rlossctl.errors import DataError, NetError, UsageError
from rlossctl.evaluation import OnnxRunner, Rule, evaluate
from rlossctl.evaluation.parts.part import Part, from_environment
from rlossctl.evaluation.running.fingerprint import hash_files
from rlossctl.evaluation.running.open_model import open_list
from rlossctl.evaluation.scoring.results import to_json
from rlossctl.evaluation.scoring.state import State


class Stopping:
    """Another runner that fails at its `stop`-th image, or never."""

    def __init__(self, runner, stop: int = -1) -> None:
        self.runner, self.stop, self.calls = runner, stop, 0
        self.backend, self.preprocess = runner.backend, runner.preprocess
        self.num_classes, self.classes = runner.num_classes, runner.classes
        self.activated, self.losses = runner.activated, runner.losses
        self.channels, self.intake = runner.channels, runner.intake

    def scores(self, batch: np.ndarray) -> np.ndarray:
        self.calls += 1
        if self.calls == self.stop:
            raise NetError("the power is cut")
        return self.runner.scores(batch)


@pytest.fixture
def samples(voc_folder):
    return open_list(voc_folder / "pairs.txt", voc_folder)


@pytest.fixture
def runner(tiny_model):
    return OnnxRunner(tiny_model, "cpu")


def test_an_interrupted_evaluation_goes_on(runner, samples, expected_matrix, tmp_path):
    options = {"progress": False, "band": 0.02}
    whole = evaluate(runner, samples, **options)
    path = tmp_path / "state"
    with pytest.raises(NetError, match="power"):
        evaluate(Stopping(runner, 3), samples, state=State(str(path), "m"), **options)
    rest = Stopping(runner)
    result = evaluate(rest, samples, state=State(str(path), "m"), **options)
    assert rest.calls == 1
    np.testing.assert_array_equal(result.confusion.matrix, expected_matrix)
    np.testing.assert_array_equal(result.counts.to_array(), whole.counts.to_array())
    np.testing.assert_array_equal(result.boundary.to_array(), whole.boundary.to_array())
    assert result.confusion.ignored == whole.confusion.ignored
    assert result.miou() == whole.miou()
    again = Stopping(runner)
    assert evaluate(again, samples, state=State(str(path), "m"), **options).miou() == whole.miou()
    assert again.calls == 0


def test_kept_pictures_of_counted_images_are_predicted_again(runner, samples, tmp_path):
    state = State(str(tmp_path / "state"), "m")
    first = evaluate(runner, samples, state=state, pictures=2, progress=False)
    second = evaluate(runner, samples, state=state, pictures=2, progress=False)
    for one, two in zip(first.pictures, second.pictures, strict=True):
        assert one.name == two.name
        np.testing.assert_array_equal(one.prediction, two.prediction)
    assert second.confusion.matrix.sum() == first.confusion.matrix.sum()


@pytest.mark.parametrize(
    ("model", "options", "named"),
    [
        ("another", {}, "model"),
        ("m", {"ignore": 254}, "ignore"),
        ("m", {"rule": Rule("threshold")}, "rule"),
        ("m", {"band": 0.05}, "boundary"),
        ("m", {"part": Part(0, 2)}, "part"),
    ],
)
def test_states_of_other_evaluations_are_refused(runner, samples, tmp_path, model, options, named):
    path = tmp_path / "state"
    evaluate(runner, samples, state=State(str(path), "m"), progress=False)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"another evaluation\n  found:    a different .*{named}"):
        evaluate(runner, samples, state=State(str(path), model), progress=False, **options)
    assert path.read_bytes() == before


def test_states_of_other_lists_are_refused(runner, samples, tmp_path):
    path = tmp_path / "state"
    evaluate(runner, samples[:2], state=State(str(path), "m"), progress=False)
    with pytest.raises(UsageError, match="a different list"):
        evaluate(runner, samples, state=State(str(path), "m"), progress=False)


def test_files_that_are_no_states_are_refused_and_kept(runner, samples, tmp_path):
    path = tmp_path / "state"
    evaluate(runner, samples, state=State(str(path), "m"), progress=False)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a part"):
            evaluate(runner, samples, state=State(str(path), "m"), progress=False)
        assert path.read_bytes() == content
    with path.open("wb") as file:
        np.savez(file, key=json.dumps([1]), seconds=1.0)
    with pytest.raises(DataError, match="not a part"):
        evaluate(runner, samples, state=State(str(path), "m"), progress=False)


def test_hashes_see_content_and_settings(tmp_path):
    one, two = tmp_path / "a", tmp_path / "b"
    one.write_bytes(b"12")
    two.write_bytes(b"1")
    assert hash_files([one]) != hash_files([two])
    assert hash_files([one], {"a": 1}) != hash_files([one], {"a": 2})
    assert hash_files([one, two]) != hash_files([two, one])


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        ({}, Part()),
        ({"RANK": "1", "WORLD_SIZE": "2"}, Part(1, 2)),
        ({"WORLD_SIZE": "1"}, Part()),
    ],
)
def test_parts_come_from_the_environment(environment, part):
    assert from_environment(environment) == part
    assert list(part.places(10)) == list(range(10))[part.rank :: part.count]


def test_impossible_parts_are_refused():
    for environment in ({"RANK": "2", "WORLD_SIZE": "2"}, {"WORLD_SIZE": "two"}, {"RANK": "-1"}):
        with pytest.raises(UsageError, match="RANK"):
            from_environment(environment)


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tiny_model, voc_folder, runner, samples, tmp_path):
    """As torchrun starts them: a rank each, joined by gloo, the first one prints and writes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    arguments = [sys.executable, "-m", "rlossctl", "eval", str(tiny_model), "--device", "cpu",
                 "--data", str(voc_folder / "pairs.txt"), "--root", str(voc_folder),
                 "--state", str(tmp_path / "val.state"), "--json", str(tmp_path / "out.json")]  # fmt: skip
    common = {**os.environ, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}  # fmt: skip
    started = [
        subprocess.Popen(
            arguments, env={**common, "RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    assert b"mIoU" in outputs[0][0]
    assert outputs[1][0] == b""
    content = json.loads((tmp_path / "out.json").read_text())
    whole = evaluate(runner, samples, progress=False)
    assert content == json.loads(json.dumps(to_json(whole)))
    states = sorted(path.name for path in tmp_path.glob("val.*"))
    assert states == ["val.0of2.state", "val.1of2.state"]
