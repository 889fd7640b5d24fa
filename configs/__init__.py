"""The networks that come with rlossctl, by name: `deeplab_largeFOV/train`, `imagenet/resnet50`.

Each is defined in networks/ and becomes prototxt text when it is asked for. The texts of the
experiments' nets and of two small ones also lie here as files, which `configs/make.py` writes.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from rlossctl.configs import networks
from rlossctl.configs.networks.network import Network
from rlossctl.errors import RlossError, UsageError
from rlossctl.files import atomic_write, make_folder


def _networks() -> Iterator[Network]:
    """The NETWORKS of every file in networks/; a new one needs no other change."""
    for module in pkgutil.iter_modules(networks.__path__, f"{networks.__name__}."):
        yield from getattr(importlib.import_module(module.name), "NETWORKS", ())


NETWORKS: dict[str, Network] = {network.name: network for network in _networks()}


def name_of(network: Network, which: str) -> str:
    """What commands call one of a network's texts."""
    alone = network.name.rpartition("/")[2] == which  # imagenet/resnet50 has one text
    return network.name if alone else f"{network.name}/{which}"


_TEXTS = {
    name_of(network, which): (network, which) for network in NETWORKS.values() for which in network.writers
}


def names() -> list[str]:
    """The name of every net and solver."""
    return list(_TEXTS)


def has(name: str) -> bool:
    """Whether a net or solver of this name comes with rlossctl; `.prototxt` behind it changes nothing."""
    return name.removesuffix(".prototxt") in _TEXTS


@cache
def text(name: str) -> str:
    """The prototxt text of this name.

    Raises:
        KeyError: there is none, see `has`.
    """
    network, which = _TEXTS[name.removesuffix(".prototxt")]
    return network.text(which, f"{network.name} of rlossctl, defined in configs/{network.file}.")


def named(name: str) -> Network | str:
    """The network of this name, or the text of one.

    Raises:
        UsageError: nothing has this name.
    """
    if has(name):
        return text(name)
    if name in NETWORKS:
        return NETWORKS[name]
    close = difflib.get_close_matches(name, [*NETWORKS, *_TEXTS], n=3)
    raise UsageError(
        "no network of this name comes with rlossctl",
        found=name,
        expected="one of those that rlossctl net --list shows, or one text of it (demo/train)",
        advice=f"did you mean {' or '.join(close)}?" if close else "take a name from rlossctl net --list",
    )


def write(name: str, folder: Path) -> list[Path]:
    """Writes a network's texts, or the one that is named, below `folder`; returns the files.

    Raises:
        UsageError: nothing has this name.
        RlossError: a file of the same name holds something else, or the folder cannot be written.
    """
    found = named(name)
    if isinstance(found, str):
        texts = {name.removesuffix(".prototxt").rpartition("/")[2]: found}
    else:
        texts = {which: text(name_of(found, which)) for which in found.writers}
    files = {make_folder(folder) / f"{which}.prototxt": content.encode() for which, content in texts.items()}
    for file, content in files.items():
        if file.exists() and file.read_bytes() != content:
            raise RlossError(
                "a file of this name with other content is there",
                where=file,
                expected="a folder without it",
                advice="name another folder with --out, or move the file away",
            )
    for file, content in files.items():
        with atomic_write(file) as out:
            out.write(content)
    return list(files)


def similar(name: str) -> list[str]:
    """Names that may be meant: the texts of a network of this name, or those that are spelt much like it."""
    asked = name.removeprefix("./").removeprefix("configs/").removesuffix(".prototxt")
    inside = [known for known in _TEXTS if known.rpartition("/")[0] == asked]
    return (
        [asked] if asked in _TEXTS else inside or difflib.get_close_matches(asked, _TEXTS, n=3, cutoff=0.75)
    )
