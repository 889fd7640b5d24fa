"""The networks that come with rlossctl, by name: `deeplab_largeFOV/train`, `imagenet/resnet50`.

Each is defined in networks/ and becomes prototxt text on request. The texts of the experiments' nets
and of two small nets are also here as files, which `configs/make.py` writes.
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
    """The name of one of a network's texts in commands."""
    alone = network.name.rpartition("/")[2] == which  # imagenet/resnet50 has one text
    return network.name if alone else f"{network.name}/{which}"


_TEXTS = {
    name_of(network, which): (network, which) for network in NETWORKS.values() for which in network.writers
}


def names() -> list[str]:
    """The name of every net and solver."""
    return list(_TEXTS)


def has(name: str) -> bool:
    """Whether a net or solver of this name comes with rlossctl; a `.prototxt` at the end is ignored."""
    return name.removesuffix(".prototxt") in _TEXTS


@cache
def text(name: str) -> str:
    """The prototxt text with this name.

    Raises:
        KeyError: there is none; see `has`.
    """
    network, which = _TEXTS[name.removesuffix(".prototxt")]
    return network.text(which, f"{network.name} of rlossctl, defined in configs/{network.file}.")


def named(name: str) -> Network | str:
    """The network with this name, or one of its texts.

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
        expected="a name that rlossctl net --list shows, or one of its texts (demo/train)",
        advice=f"did you mean {' or '.join(close)}?" if close else "take a name from rlossctl net --list",
    )


def write(name: str, folder: Path) -> list[Path]:
    """Writes a network's texts, or only the named one, below `folder`; returns the files.

    Raises:
        UsageError: nothing has this name.
        RlossError: a file with the same name has other content, or the folder cannot be written.
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
                "a file with this name already exists and has other content",
                where=file,
                expected="a folder without it",
                advice="name another folder with --out, or move the file away",
            )
    for file, content in files.items():
        with atomic_write(file) as out:
            out.write(content)
    return list(files)


def similar(name: str) -> list[str]:
    """Names that the user may mean: the texts of a network with this name, or names spelt much like it."""
    asked = name.removeprefix("./").removeprefix("configs/").removesuffix(".prototxt")
    inside = [known for known in _TEXTS if known.rpartition("/")[0] == asked]
    return (
        [asked] if asked in _TEXTS else inside or difflib.get_close_matches(asked, _TEXTS, n=3, cutoff=0.75)
    )
