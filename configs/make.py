"""Writes the generated files in this folder: the prototxts kept as text, and the figures of every network.

`python configs/make.py` writes the files that differ from the definitions in networks/. With --check it
writes nothing, lists these files, and exits with status 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

from rlossctl import configs
from rlossctl.configs import figures
from rlossctl.configs.figures import CLASSES, Figures
from rlossctl.configs.networks.network import Network
from rlossctl.prototxt import template

HERE = Path(__file__).resolve().parent
# The nets of the experiments, for reading beside the originals, and the two small nets that the guides use.
AS_TEXT = ("deeplab_largeFOV", "deeplab_msc_largeFOV", "deeplab_vgg16", "resnet-101", "demo", "camvid")


def all_files() -> Iterator[tuple[Path, str]]:
    """The files that belong in this folder: path and text."""
    for name in AS_TEXT:
        network = configs.NETWORKS[name]
        header = f"Written by configs/make.py from configs/{network.file}: change it there."
        for which in network.writers:
            yield HERE / name / f"{which}.prototxt", network.text(which, header)
    known = figures.figures() if figures.FILE.is_file() else {}
    measured = {each.name: asdict(_figures(each, known.get(each.name))) for each in configs.NETWORKS.values()}
    yield HERE / figures.FILE.name, json.dumps(measured, indent=1) + "\n"


def _figures(network: Network, known: Figures | None) -> Figures:
    """Measures a network again if its net for inference has changed."""
    texts = {which: sha256(write().encode()).hexdigest() for which, write in network.writers.items()}
    if known is not None and known.texts.get(network.inference) == texts[network.inference]:
        return replace(known, texts=texts)
    return replace(measure(network), texts=texts)


def measure(network: Network) -> Figures:
    """The figures of a network's net for inference, which is not built."""
    from rlossctl.net.draft import draft_inference_net
    from rlossctl.net.origin import NetOrigin
    from rlossctl.net.summary import summarize

    name = configs.name_of(network, network.inference)
    free = "NUM_LABELS" in template.names(configs.text(name))
    labels = {"NUM_LABELS": CLASSES, "NUM_LABELS_16": 16 * CLASSES} if free else {}
    origin = NetOrigin(name, placeholders={"EXP": "measured", **labels})
    net = draft_inference_net(origin.read())
    summary = summarize(net)
    scores = [layer for layer in summary.layers if layer.parameters][-1]
    _, channels, height, width = net.shapes["data"]
    return Figures(
        summary.parameters,
        summary.multiply_adds,
        None if free else scores.shapes[0][1],
        (channels, height, width),
        {},
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="only compare; write nothing")
    check = parser.parse_args().check
    stale = 0
    for path, text in all_files():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(f"{'not as defined' if check else 'written'}: {path.relative_to(HERE)}")
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
