"""The output of `rlossctl net`: all networks that come with rlossctl, or one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlossctl import configs
from rlossctl.configs.figures import CLASSES, Figures, figures
from rlossctl.configs.networks.network import Network
from rlossctl.inspection.report import table
from rlossctl.prototxt import template

HEAD = ("network", "parameters", "multiply-adds", "classes", "image", "can start from")


NOTE = (
    f"any: NUM_LABELS sets the number; the figures are for {CLASSES} classes and one image of the size shown"
)


def rows() -> list[tuple[str, ...]]:
    """A row for every network, below `HEAD`."""
    return [_row(network, figures()[network.name]) for network in configs.NETWORKS.values()]


def listing() -> list[str]:
    """All networks as a table, one line each."""
    return [*table(HEAD, rows(), right=(1, 2, 3)), "", NOTE]


def description(name: str) -> list[str]:
    """A network's row of the table, its texts and their placeholders; or one text.

    Raises:
        UsageError: neither a network nor one of its texts has this name.
    """
    found = configs.named(name)
    if isinstance(found, str):
        return found.rstrip("\n").split("\n")
    texts = {configs.name_of(found, which): write() for which, write in found.writers.items()}
    uses = {text_name: template.names(text) for text_name, text in texts.items()}
    defaults = [template.defaults(text) for text in texts.values()]
    every = dict.fromkeys(key for keys in uses.values() for key in keys)
    settings = [(key, _defaults(key, defaults), _users(key, uses)) for key in every]
    placeholders = ["", *table(("placeholder", "default", "in"), settings)] if settings else []
    row = _row(found, figures()[found.name])
    return [
        *(f"{title:<15} {cell}" for title, cell in zip(HEAD, row, strict=True)),
        f"{'defined in':<15} configs/{found.file}",
        f"{'texts':<15} {', '.join(texts)}",
        *placeholders,
    ]


def _defaults(key: str, defaults: Sequence[Mapping[str, str]]) -> str:
    """The default or defaults: solvers of one network may have different ones."""
    return " or ".join(dict.fromkeys(each[key] for each in defaults if key in each)) or "(none)"


def _users(key: str, uses: Mapping[str, Sequence[str]]) -> str:
    users = [name for name, keys in uses.items() if key in keys]
    return "all" if len(users) == len(uses) else ", ".join(name.rpartition("/")[2] for name in users)


def _row(network: Network, measured: Figures) -> tuple[str, ...]:
    return (
        network.name,
        f"{measured.parameters / 1e6:.2f} M",
        f"{measured.multiply_adds / 1e9:.2f} G",
        str(measured.classes or "any"),
        "x".join(map(str, measured.image)),
        network.start or "random weights",
    )
