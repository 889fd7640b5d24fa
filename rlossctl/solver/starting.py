"""Weights that a training starts from, copied by layer name, and what the log says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlossctl.net import Net
from rlossctl.solver.telling.log import Log
from rlossctl.words import counted


def start_from(net: Net, path: str | Path, log: Log, *, skip_mismatched: bool) -> None:
    """Copies weights into a net; see `Solver.load_weights`."""
    log.info(f"Finetuning from {path}")
    if skip_mismatched:
        fitted = net.copy_fitting(path)
        copied, ignored = list(fitted.copied), list(fitted.ignored)
        for name, why in fitted.anew.items():
            log.warning(f"Layer {name!r} starts anew: {why} ({path})")
    else:
        copied, ignored = net.copy_from(path)
    for name in ignored:
        log.info(f"Ignoring source layer {name}")
    _tell_copied(net, path, copied, log)


def _tell_copied(net: Net, path: str | Path, copied: Sequence[str], log: Log) -> None:
    layers = f"{counted(len(net.params), 'layer')} with weights"
    if copied:
        log.info(f"Copied {len(copied)} of {layers} from {path}")
    else:
        log.warning(f"{path} has no layer in common with the net: none of {layers} was copied")
