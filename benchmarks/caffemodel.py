"""Opens, inspects and loads a 500 MB caffemodel, and compares with a protobuf parser in the same run.

    python benchmarks/caffemodel.py [--megabytes 500] [--repeat 3] [--opencv PYTHON]

The last lines are whole processes, including the interpreter's start: `rlossctl inspect`, an interpreter that
does nothing, and OpenCV's importer if --opencv names a Python with OpenCV 4.

A caffemodel like VGG's (few large layers, many small ones) is written to a temporary folder. Each measurement
runs in its own process. It gives the best time of the repeats, and the peak resident memory above the memory
of a started interpreter with its imports (mapped pages of the file count). Loading copies every blob to its
own array, as a net does. The file is in the page cache, so disk time is left out. Linux only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from rlossctl.weights import load_caffemodel, write_caffemodel
from rlossctl.weights.wire import encode_bytes

LAYERS = 300
FIELDS = {
    "BlobShape": [(1, "dim", 3, None)],
    "BlobProto": [(5, "data", 2, None), (7, "shape", 11, "BlobShape")],
    "LayerParameter": [(1, "name", 9, None), (2, "type", 9, None), (7, "blobs", 11, "BlobProto")],
    "NetParameter": [(1, "name", 9, None), (100, "layer", 11, "LayerParameter")],
}
REPEATED = {"dim", "data", "blobs", "layer"}


def write(path: Path, megabytes: int) -> None:
    """Writes a caffemodel with 80 % of the values in one layer and the rest spread over the others."""
    values = megabytes * 1_000_000 // 4
    counts = [values * 8 // 10] + [values * 2 // 10 // (LAYERS - 1)] * (LAYERS - 1)
    draw = np.random.default_rng(0)
    message = encode_bytes(2, b"InnerProduct")
    layers = (
        (
            encode_bytes(1, f"layer{index}".encode()) + message,
            [draw.random((1, count), np.float32), np.ones(1)],
        )
        for index, count in enumerate(counts)
    )
    write_caffemodel(path, "benchmark", layers)


def net_parameter() -> type:
    """A NetParameter class, from a descriptor made here."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="benchmark.proto", package="b", syntax="proto2")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for number, field_name, kind, of in fields:
            label = 3 if field_name in REPEATED else 1
            field = message.field.add(name=field_name, number=number, type=kind, label=label)
            if of:
                field.type_name = f".b.{of}"
            elif label == 3:
                field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("b.NetParameter"))


def ours(path: Path, what: str) -> int:
    model = load_caffemodel(path)
    if what == "open":
        return 0
    blobs = [blob for layer in model.layers for blob in layer.blobs]
    if what == "shapes":
        return sum(blob.count for blob in blobs)
    return len([np.array(blob.array()) for blob in blobs])


def protobuf(path: Path, what: str) -> int:
    """Always parses everything: the parser cannot do less."""
    net = net_parameter().FromString(path.read_bytes())
    if what == "open":
        return 0
    blobs = [blob for layer in net.layer for blob in layer.blobs]
    if what == "shapes":
        return sum(int(np.prod(blob.shape.dim)) for blob in blobs)
    return len([np.array(blob.data, np.float32).reshape(tuple(blob.shape.dim)) for blob in blobs])


READERS = {"rlossctl": ours, "protobuf": protobuf}


def peak_memory() -> int:
    """This process's peak resident kB (getrusage would report the parent's peak if it was higher)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def measure(arguments: tuple[str, str, str, int]) -> dict[str, float]:
    """Seconds and peak memory in MB for one reader and one task; runs in a new process."""
    reader, what, path, repeat = arguments
    net_parameter()
    start = peak_memory()
    seconds = []
    for _ in range(repeat):
        begin = time.perf_counter()
        READERS[reader](Path(path), what)
        seconds.append(time.perf_counter() - begin)
    return {"seconds": min(seconds), "megabytes": (peak_memory() - start) / 1024}


OPENCV = """
import sys, cv2, pathlib
folder = pathlib.Path(sys.argv[1]).parent
(folder / "net.prototxt").write_text(
    'input: "data" input_shape { dim: 1 dim: 1 } '
    'layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }'
)
cv2.dnn.readNetFromCaffe(str(folder / "net.prototxt"), sys.argv[1])
"""


def processes(path: Path, opencv: str | None, repeat: int) -> dict[str, dict[str, float]]:
    """Seconds for whole processes: wall-clock and processor time, the best of the repeats."""
    commands = {
        "rlossctl inspect": [sys.executable, "-m", "rlossctl", "inspect", str(path)],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    if opencv:
        commands["OpenCV"] = [opencv, "-c", OPENCV, str(path)]
    return {
        name: min((timed(command) for _ in range(repeat)), key=lambda run: run["seconds"])
        for name, command in commands.items()
    }


def timed(command: list[str]) -> dict[str, float]:
    """Wall-clock and processor time of a command."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.perf_counter() - begin, "processor": processor}


def main() -> None:
    """Prints one line per task and a JSON line with everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=500, help="size of the file")
    parser.add_argument("--repeat", type=int, default=3, help="repeats of each task; the best counts")
    parser.add_argument("--opencv", metavar="PYTHON", help="an interpreter with OpenCV 4")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark.caffemodel"
        write(path, options.megabytes)
        print(f"{path.stat().st_size / 1e6:.0f} MB, {LAYERS} layers, {2 * LAYERS} blobs")
        for what in ("open", "shapes", "load"):
            for reader in READERS:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    results[what, reader] = pool.map(measure, [(reader, what, str(path), options.repeat)])[0]
            mine, other = results[what, "rlossctl"], results[what, "protobuf"]
            print(
                f"{what:7} rlossctl {mine['seconds'] * 1e3:9.2f} ms {mine['megabytes']:7.1f} MB   "
                f"protobuf {other['seconds'] * 1e3:9.2f} ms {other['megabytes']:7.1f} MB   "
                f"{other['seconds'] / mine['seconds']:8.1f} times faster"
            )
        whole = processes(path, options.opencv, options.repeat)
        for name, run in whole.items():
            print(f"{name:18} {run['seconds']:6.3f} s, of which processor {run['processor']:6.3f} s")
    print(json.dumps({**{f"{what} {reader}": value for (what, reader), value in results.items()}, **whole}))


if __name__ == "__main__":
    main()
