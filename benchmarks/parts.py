"""One process, three parts and two Ray actors on a long list, a part and an actor killed: the same JSON.

    python benchmarks/parts.py model.onnx --data val.txt --root DIR --images 10000

The list is repeated up to --images lines. A run's resident set is printed while it goes on (Linux): that of
the process, or of Ray's actors. The second part and one actor get SIGKILL in between; the part is started
again, and Ray starts the actor again. At the end the files are compared byte by byte. --engines leaves runs
out.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rlossctl.data.lists import write_lines

SAMPLES = 10  # of the resident set, for each run


class Runs:
    """The runs of one model on one list, in a folder."""

    def __init__(self, model: str, data: Path, root: str, out: Path) -> None:
        self._command = [sys.executable, "-m", "rlossctl", "eval"]
        self._job = [model, "--data", str(data), "--root", root, "--device", "cpu"]
        self._out = out

    def process(self) -> Path:
        """One process."""
        target = self._out / "process.json"
        _watch("one process", self._start(*self._job, "--json", str(target)))
        return target

    def parts(self) -> Path:
        """Three parts, the second of them killed once."""
        target, folder = self._out / "parts.json", self._out / "parts"
        for number in (1, 2, 3):
            arguments = [*self._job, "--part", f"{number}/3", "--parts", str(folder)]
            if number == 2:
                process = self._start(*arguments)
                while process.poll() is None and _seconds(process.pid) < 4:
                    time.sleep(0.2)
                _kill(process.pid, f"part {number}/3")
                process.wait()
            _watch(f"part {number}/3", self._start(*arguments))
        _watch("merge", self._start("--merge", str(folder), "--json", str(target)))
        return target

    def ray(self) -> Path:
        """Two actors, one of them killed."""
        target, folder = self._out / "ray.json", self._out / "ray"
        arguments = ["--engine", "ray", "--actors", "2", "--parts", str(folder), "--json", str(target)]
        process = self._start(*self._job, *arguments)
        while process.poll() is None and len(list(folder.glob("*.npz"))) < 3:
            time.sleep(0.2)
        _kill(next(_actors(process.pid)), "an actor")
        _watch("two actors", process, _actors)
        return target

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self._command, *arguments], stdout=subprocess.DEVNULL)


def _watch(
    name: str,
    process: subprocess.Popen[bytes],
    of: Callable[[int], Iterator[int]] = lambda pid: iter([pid]),
) -> None:
    """Waits for a process, then prints the resident sets that it had meanwhile; it must succeed."""
    seen: list[tuple[float, list[int]]] = []
    start = time.monotonic()
    while process.poll() is None:
        sizes = [size for pid in of(process.pid) if (size := _resident(pid))]
        seen += [(time.monotonic() - start, sizes)] if sizes else []
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"{name} ended with status {process.returncode}")
    for moment, sizes in seen[:: max(1, len(seen) // SAMPLES)]:
        print(f"{name:<12}{moment:>7.0f} s  {', '.join(f'{size} MB' for size in sizes)}", flush=True)


def _kill(pid: int, name: str) -> None:
    os.kill(pid, signal.SIGKILL)
    print(f"killed {name} (process {pid})", flush=True)


def _actors(pid: int) -> Iterator[int]:
    """Ray's actors among the descendants of a process."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            title = (entry / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if title.startswith(b"ray::") and b"_Actor" in title and pid in _ancestors(int(entry.name)):
            yield int(entry.name)


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return
        yield pid


def _seconds(pid: int) -> float:
    """The CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    """The resident set of a process in MB; 0 after its end."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 10**6
    except (OSError, IndexError):
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("model", help="an ONNX file")
    parser.add_argument("--data", required=True, type=Path, help="list of `image label` lines")
    parser.add_argument("--root", required=True, help="root folder of the list")
    parser.add_argument("--images", type=int, default=10_000, help="length of the list (default 10000)")
    parser.add_argument("--out", type=Path, default=Path("parts-out"), help="a new folder")
    parser.add_argument("--engines", nargs="+", default=["process", "parts", "ray"], help="which runs")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    lines = arguments.data.read_text().splitlines()
    repeated = arguments.out / "list.txt"
    write_lines(repeated, list(itertools.islice(itertools.cycle(lines), arguments.images)))
    runs = Runs(arguments.model, repeated, arguments.root, arguments.out)
    files = [getattr(runs, engine)() for engine in arguments.engines]
    same = len({file.read_bytes() for file in files}) == 1
    print(f"{', '.join(file.name for file in files)}: {'the same bytes' if same else 'DIFFERENT'}")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
