"""Work done ahead, and decoding in threads or in processes: the same answers, in order, and clear errors."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from rlossctl.data.lists import Sample
from rlossctl.data.sources.readahead import ahead
from rlossctl.errors import DataError, RlossError, UsageError
from rlossctl.evaluation import OnnxRunner, Predictor, evaluate
from rlossctl.evaluation.predicting.outputs import Outputs
from rlossctl.evaluation.predicting.photos import find_inputs
from rlossctl.evaluation.predicting.prediction_files import Sources, predict_photos
from rlossctl.evaluation.running.decoders import decoding
from rlossctl.evaluation.running.open_model import open_list


@pytest.mark.parametrize("workers", [1, 3])
def test_results_keep_the_order_of_the_jobs(workers):
    assert list(ahead(range(20), lambda job: job * job, workers)) == [job * job for job in range(20)]


def test_jobs_are_taken_no_further_ahead_than_there_are_workers():
    taken = []
    jobs = (taken.append(job) or job for job in range(100))
    results = ahead(jobs, abs, 2)
    next(results)
    results.close()
    assert len(taken) == 4


def test_an_error_comes_when_its_turn_comes():
    results = ahead([1, 2, 0, 4], lambda job: 12 // job, 3)
    assert [next(results), next(results)] == [12, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_what_was_begun_is_done_although_later_jobs_fail():
    done = []

    def jobs():
        yield from range(4)
        raise ValueError("no more")

    def work(job):
        time.sleep(0.01)  # so that some wait
        done.append(job)

    with pytest.raises(ValueError, match="no more"):
        list(ahead(jobs(), work, 1))
    assert done == [0, 1, 2, 3]


def test_threads_decode_in_the_thread_that_asks():
    with decoding("threads", 2) as call:
        assert call(threading.get_ident) == threading.get_ident()


@pytest.mark.slow
def test_processes__give_the_same_counts(tiny_model, voc_folder, expected_matrix):
    with decoding("processes", 1) as call:
        assert call(os.getpid) != os.getpid()
    samples = open_list(voc_folder / "pairs.txt", voc_folder)
    result = evaluate(OnnxRunner(tiny_model, "cpu"), samples, decoders="processes", progress=False)
    np.testing.assert_array_equal(result.confusion.matrix, expected_matrix)


def test_an_error_in_a_process_names_the_line(tiny_model, voc_folder):
    samples = [*open_list(voc_folder / "pairs.txt", voc_folder), Sample("gone.png", "gone.png", line=4)]
    with pytest.raises(DataError, match=r"list\.txt:4") as raised:
        evaluate(
            OnnxRunner(tiny_model, "cpu"), samples, decoders="processes", list_name="list.txt", progress=False
        )
    assert raised.value.found == "no such file" and raised.value.advice


def test_a_process_that_dies_is_told():
    with pytest.raises(RlossError, match="ended unexpectedly"), decoding("processes", 1) as call:
        call(os._exit, 3)


def test_processes_import_nothing_of_the_working_directory(tmp_path, monkeypatch):
    for module in ("numpy", "pickle", "multiprocessing", "rlossctl"):
        (tmp_path / f"{module}.py").write_text("open('was_run', 'w').close()")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    with decoding("processes", 1) as call:
        assert call(os.getcwd) == str(tmp_path)
    assert not Path("was_run").exists()


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(tmp_path):
    code = "import os, signal, time\nfrom rlossctl.evaluation.running.decoders import decoding\n"
    code += "with decoding('processes', 2) as call:\n"
    code += "    print(call(os.getpid), flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    process = int(done.stdout)
    for _ in range(200):
        if not Path(f"/proc/{process}").exists():
            return
        time.sleep(0.05)
    pytest.fail("it is still there after ten seconds")


def test_what_a_worker_prints_is_not_taken_for_an_answer(capfd):
    with decoding("processes", 1) as call:
        assert call(print, "hello") is None and call(len, "abc") == 3
    assert "hello" in capfd.readouterr().err


@pytest.mark.slow
def test_predictions_of_both_kinds_are_the_same_files(tiny_model, voc_folder, tmp_path):
    broken = voc_folder / "JPEGImages" / "2007_broken.png"
    broken.write_bytes((voc_folder / "JPEGImages" / "2007_000000.png").read_bytes()[:100])
    inputs = find_inputs([str(voc_folder / "JPEGImages")])
    files: list[dict[Path, bytes]] = []
    for decoders in ("threads", "processes"):
        folder = tmp_path / decoders
        outputs = Outputs(folder, ("labels", "overlay", "png16"))
        predictor = Predictor(OnnxRunner(tiny_model, "cpu"))
        summary = predict_photos(predictor, Sources(inputs), outputs, decoders=decoders, progress=False)
        assert summary.done == 3 and [path for path, _ in summary.failed] == [str(broken)]
        files.append({path.relative_to(folder): path.read_bytes() for path in folder.iterdir()})
    assert len(files[0]) == 15 and files[0] == files[1]


def test_other_decoders_do_not_exist():
    with pytest.raises(UsageError, match="unknown decoders"), decoding("fibres", 2):
        pass


def test_a_forgotten_iterator_waits_for_nothing():
    """The garbage collector closes it, perhaps in a thread that holds what a join would wait for."""
    may_end, ended = threading.Event(), threading.Event()

    def work(job: int) -> int:
        if job == 1:
            may_end.wait(60)
            ended.set()
        return job

    results = ahead(range(9), work, 1)
    assert next(results) == 0
    closing = threading.Thread(target=results.close, daemon=True)
    closing.start()
    closing.join(10)
    waited = closing.is_alive()
    may_end.set()
    assert not waited and ended.wait(10)
