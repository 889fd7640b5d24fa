"""Commands that compute nothing on blobs load no torch."""

from __future__ import annotations

import json
import subprocess
import sys

CODE = """
import contextlib, io, json, sys
from rlossctl.cli import main
found = {}
for command in json.loads(sys.argv[1]):
    sys.argv = ["rlossctl", *command]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main()
    found[" ".join(command)] = "torch" in sys.modules
print(json.dumps(found))
"""


def loads(folder, *commands: str) -> dict[str, bool]:
    """Runs commands in one process: each -> whether torch was loaded after it."""
    words = json.dumps([command.split() for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", CODE, words], cwd=folder, capture_output=True, text=True, check=True
    )
    assert not done.stderr
    return json.loads(done.stdout)


def test_nets_of_common_types_are_inspected_without_torch(tmp_path):
    """The nets of the experiments, for training too; torch comes with the first layer that needs it."""
    (tmp_path / "other.prototxt").write_text(
        'input: "x" input_shape { dim: 1 dim: 4 dim: 6 dim: 6 }\n'
        'layer { name: "l" type: "Reorg" bottom: "x" top: "y" reorg_param { stride: 2 } }'
    )
    found = loads(
        tmp_path,
        "inspect resnet-101/test --set NUM_LABELS=21",
        "inspect resnet-101/trainwithdensecrfloss --set NUM_LABELS=21 --phase TRAIN --image-shape 3,321,321",
        "inspect deeplab_largeFOV/train --set NUM_LABELS=21 --draw net.svg",
        "inspect camvid/train",
        "inspect resnet-101/solver --json",
        "inspect other.prototxt",
    )
    assert list(found.values()) == [False] * 5 + [True]
    assert (tmp_path / "net.svg").is_file()


def test_weights_change_their_format_without_torch(golden, tmp_path):
    (tmp_path / "w.caffemodel").write_bytes(
        (golden / "solver" / "sgd_itersize2_clip" / "snap_iter_13.caffemodel").read_bytes()
    )
    found = loads(
        tmp_path,
        "inspect w.caffemodel",
        "convert w.caffemodel -o same.caffemodel",
        "convert w.caffemodel -o net.prototxt",
        "convert w.caffemodel -o w.safetensors",
        "convert w.safetensors -o again.caffemodel",
        "convert w.caffemodel -o w.caffemodel.h5",
        "convert w.caffemodel.h5 -o named.caffemodel",
        "convert w.caffemodel.h5 -o named.safetensors",
        "inspect w.safetensors",
        "inspect w.caffemodel.h5",
    )
    assert not any(found.values()), found
    assert (tmp_path / "again.caffemodel").read_bytes() == (tmp_path / "w.caffemodel").read_bytes()
    assert all(
        (tmp_path / name).is_file() for name in ("net.prototxt", "named.caffemodel", "named.safetensors")
    )
