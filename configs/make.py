"""Writes the prototxts in this folder from the definitions in networks/.

`python configs/make.py` writes those that differ from their definition; with --check it writes nothing,
names them and exits with status 1 if there are any.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from networks import (
    camvid,
    deeplab_largefov,
    deeplab_msc_largefov,
    deeplab_vgg16,
    deeplabv3plus,
    demo,
    duc_hdc,
    enet,
    fcn8,
    gcn,
    imagenet,
    pspnet,
    resnet101,
    segnet,
    unet,
    upernet,
)
from networks.program import Network

from rlossctl.prototxt.netspec import message_text

HERE = Path(__file__).resolve().parent
NETWORKS = (
    deeplab_largefov,
    deeplab_msc_largefov,
    deeplab_vgg16,
    resnet101,
    demo,
    camvid,
    *deeplabv3plus.NETWORKS,
    *pspnet.NETWORKS,
    *duc_hdc.NETWORKS,
    *fcn8.NETWORKS,
    *unet.NETWORKS,
    *segnet.NETWORKS,
    *gcn.NETWORKS,
    *upernet.NETWORKS,
    *enet.NETWORKS,
)
MADE_BY = "Written by configs/make.py from configs/networks/{}.py: change it there."


def all_files() -> Iterator[tuple[Path, str]]:
    """Every prototxt: path and text."""
    for network in NETWORKS:
        yield from files(network)
    for name, net in imagenet.nets():
        yield (
            HERE / imagenet.FOLDER / f"{name}.prototxt",
            f"# {MADE_BY.format('imagenet')}\n#\n{net.to_text()}",
        )


def files(network: ModuleType | Network) -> Iterator[tuple[Path, str]]:
    """The five prototxts of a network: path and text."""
    folder = HERE / network.FOLDER
    made_by = MADE_BY.format(network.__name__.rpartition(".")[2])
    nets = {
        "train": network.train_net(densecrf=False),
        "trainwithdensecrfloss": network.train_net(densecrf=True),
        "test": network.test_net(),
    }
    for name, net in nets.items():
        yield folder / f"{name}.prototxt", f"# {made_by}\n#\n{net.to_text()}"
    for name, fields in network.SOLVERS.items():
        yield folder / f"{name}.prototxt", message_text("SolverParameter", fields, header=made_by)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
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
