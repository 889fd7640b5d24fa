"""The overhead of `rlossctl eval`: images per second, compared with bare ONNX Runtime.

    python benchmarks/evaluation.py model.onnx --data val.txt --root DIR           # overhead, by workers
    python benchmarks/evaluation.py model.onnx --data val.txt --root DIR --rules   # rank rules beside argmax
    python benchmarks/evaluation.py model.onnx --data val.txt --root DIR --decode  # threads against processes
    python benchmarks/evaluation.py model.onnx --data val.txt --root DIR --memory 10000
    LOCAL_WORLD_SIZE=2 python benchmarks/evaluation.py ...   # the net on half of the cores; the others decode

The overhead run times `evaluate` (reading, preprocessing, enlarging scores, argmax, counting). It compares
with a session with ONNX Runtime's own options on the same images, preprocessed beforehand, and with the
session that `evaluate` uses. "reading" is the part that an evaluation cannot avoid. Rounds alternate, and the
best of each counts, since other work on the machine only ever slows a round down. CPU time covers all threads
of the process. The run of the rules compares evaluations by rank rules with one by argmax; "finish" is what
each takes from the model's scores to the prediction. The memory run repeats the list up to N images, and
prints the resident set after every tenth.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from rlossctl.data.images import read_image
from rlossctl.data.lists import Sample
from rlossctl.data.pairs import read_pair
from rlossctl.data.sources.readahead import ahead
from rlossctl.evaluation import OnnxRunner, Predictor, Rule, evaluate
from rlossctl.evaluation.running.decoders import DECODERS, Call, decoding
from rlossctl.evaluation.running.open_model import open_list
from rlossctl.evaluation.running.sessions import cpu_threads

_FEW = 10  # photos whose scores are kept
_RULES = {
    "argmax": Rule(),
    "rankdice": Rule("rankdice"),
    "rankdice, masks": Rule("rankdice", "masks"),
    "rankiou": Rule("rankiou"),
    "rankiou, masks": Rule("rankiou", "masks"),
}


def overhead(runner: OnnxRunner, samples: list[Sample], rounds: int, workers: list[int]) -> None:
    """Prints images per second for the bare model, for `evaluate`, and for reading the files alone."""
    predictor = Predictor(runner)
    inputs = [predictor.prepare(read_image(sample.image))[0].pixels[None] for sample in samples]
    bare = _bare(runner)
    works: dict[str, Callable[[], object]] = {
        "bare ONNX Runtime": lambda: [bare(pixels) for pixels in inputs],
        "the evaluation's session": lambda: [runner.scores(pixels) for pixels in inputs],
        "reading, one thread": lambda: [read_pair(sample, "") and None for sample in samples],
    }
    for count in workers:
        works[f"evaluate, {count} worker{'s' * (count > 1)}"] = functools.partial(
            evaluate, runner, samples, workers=count, progress=False
        )
    best: dict[str, tuple[float, float]] = {}
    for _, (name, work) in itertools.product(range(rounds), works.items()):
        _keep(best, name, work)
    first = best["bare ONNX Runtime"]
    print(f"{runner.backend}\n{len(samples)} images, best of {rounds} rounds")
    for name, (wall, cpu) in best.items():
        print(
            f"{name:<26}{len(samples) / wall:>8.2f} images/s {100 * (wall / first[0] - 1):>+7.1f} %"
            f"{1000 * cpu / len(samples):>10.1f} ms of CPU {100 * (cpu / first[1] - 1):>+7.1f} %"
        )
    timed, start = _Timed(runner), time.perf_counter()
    evaluate(timed, samples, progress=False)
    share = timed.seconds / (time.perf_counter() - start)
    print(f"while it evaluates, the session runs {100 * share:.0f} % of the time")


def rules(runner: OnnxRunner, samples: list[Sample], rounds: int) -> None:
    """Prints the CPU time of `evaluate` with each rule, and the part that follows the model."""
    inputs = [Predictor(runner).prepare(read_image(sample.image))[0].pixels[None] for sample in samples]
    photos = [read_image(sample.image) for sample in samples[:_FEW]]
    works: dict[str, Callable[[], object]] = {
        "the evaluation's session": lambda: [runner.scores(pixels) for pixels in inputs]
    }
    for name, rule in _RULES.items():
        works[f"evaluate, {name}"] = functools.partial(
            evaluate, runner, samples, rule=rule, workers=1, progress=False
        )
        works[f"finish, {name}"] = _finishing(Predictor(runner, rule=rule), photos)
    best: dict[str, tuple[float, float]] = {}
    for _, (name, work) in itertools.product(range(rounds), works.items()):
        _keep(best, name, work)
    argmax, session = best["evaluate, argmax"][1], best["the evaluation's session"][1]
    print(f"{runner.backend}\n{len(samples)} images, best of {rounds} rounds, CPU time per image")
    for name, (_, cpu) in best.items():
        if name.startswith("finish"):
            print(f"{name:<28}{1000 * cpu / len(photos):>8.2f} ms")
        else:
            ms = 1000 * cpu / len(samples)
            print(f"{name:<28}{ms:>8.2f} ms {cpu / session:>6.2f} x session {cpu / argmax:>6.2f} x argmax")


def _finishing(predictor: Predictor, photos: list[np.ndarray]) -> Callable[[], object]:
    """What follows the model, for photos whose scores are known."""
    known = []
    for photo in photos:
        views = predictor.prepare(photo)
        known.append((photo, views, [np.array(scores) for scores in predictor.run(views)]))
    return lambda: [predictor.finish(*one) and None for one in known]


def _bare(runner: OnnxRunner) -> Callable[[np.ndarray], object]:
    """Runs a session with ONNX Runtime's own options, on as many threads as the evaluation."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_threads()
    session = onnxruntime.InferenceSession(str(runner.path), options, providers=["CPUExecutionProvider"])
    (name,) = (entry.name for entry in session.get_inputs())
    return lambda pixels: session.run(None, {name: pixels})


def decode(samples: list[Sample]) -> None:
    """Prints how fast photos and labels are decoded by threads and by processes."""
    for decoders, count in itertools.product(DECODERS, (1, 2, 4)):
        with decoding(decoders, count) as call:
            work = functools.partial(_decode, call=call)
            list(ahead(samples[: 2 * count], work, count))  # warm up
            start = time.perf_counter()
            for _ in ahead(samples, work, count):
                pass
            seconds = time.perf_counter() - start
        print(f"{count} {decoders:<10}{len(samples) / seconds:>8.1f} images/s")


def memory(runner: OnnxRunner, samples: list[Sample], total: int) -> None:
    """Prints the resident set while the list repeats, up to `total` images."""
    repeated = list(itertools.islice(itertools.cycle(samples), total))
    tenth = max(1, total // 10)
    counted = _Counting(runner, tenth)
    evaluate(counted, repeated, progress=False)
    print(f"{total} images: {_resident():.0f} MB at the end")


class _Wrapped:
    """A runner around a runner."""

    def __init__(self, runner: OnnxRunner) -> None:
        self._runner = runner

    def __getattr__(self, name: str) -> object:
        return getattr(self._runner, name)


class _Timed(_Wrapped):
    """A runner that measures how many seconds its session runs."""

    seconds = 0.0

    def scores(self, batch: np.ndarray) -> np.ndarray:
        """The runner's scores."""
        start = time.perf_counter()
        scores = self._runner.scores(batch)
        self.seconds += time.perf_counter() - start
        return scores


class _Counting(_Wrapped):
    """A runner that prints the resident set every `step` images."""

    def __init__(self, runner: OnnxRunner, step: int) -> None:
        super().__init__(runner)
        self._step, self._done = step, 0

    def scores(self, batch: np.ndarray) -> np.ndarray:
        """The runner's scores."""
        if self._done % self._step == 0:
            print(f"{self._done:>8} images{_resident():>8.0f} MB", flush=True)
        self._done += len(batch)
        return self._runner.scores(batch)


def _decode(sample: Sample, call: Call) -> tuple[np.ndarray, np.ndarray]:
    return call(read_pair, sample, "the list")


def _keep(best: dict[str, tuple[float, float]], name: str, work: Callable[[], object]) -> None:
    """Runs the work, and keeps the least wall-clock and least CPU seconds for its name."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    taken = time.perf_counter() - wall, time.process_time() - cpu
    best[name] = tuple(map(min, taken, best.get(name, taken)))


def _resident() -> float:
    """The resident set of this process, in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", help="an ONNX file")
    parser.add_argument("--data", required=True, help="list of `image label` lines or VOC ids")
    parser.add_argument("--root", default="", help="root folder of the list")
    parser.add_argument("--limit", type=int, default=40, help="images to use from the list (default 40)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the overhead run (default 5)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="decoding threads")
    parser.add_argument("--rules", action="store_true", help="compare the rank rules with argmax")
    parser.add_argument("--decode", action="store_true", help="time only decoding")
    parser.add_argument("--memory", type=int, metavar="N", help="print the resident set over N images")
    arguments = parser.parse_args()
    samples = open_list(arguments.data, arguments.root)[: arguments.limit]
    if arguments.decode:
        decode(samples)
        return
    runner = OnnxRunner(arguments.model, "cpu")
    if arguments.memory:
        memory(runner, samples, arguments.memory)
    elif arguments.rules:
        rules(runner, samples, arguments.rounds)
    else:
        overhead(runner, samples, arguments.rounds, arguments.workers)


if __name__ == "__main__":
    main()
