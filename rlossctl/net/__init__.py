"""From messages to a net that runs: registry, graph, building, Net, summary. Loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl import lazy

if TYPE_CHECKING:
    from rlossctl.net.build import build_net as build_net
    from rlossctl.net.build import load_net as load_net
    from rlossctl.net.net import Net as Net
    from rlossctl.net.net import Result as Result
    from rlossctl.net.origin import DataOverrides as DataOverrides
    from rlossctl.net.origin import NetOrigin as NetOrigin

_HOMES = {
    "DataOverrides": ".origin",
    "Net": ".net",
    "NetOrigin": ".origin",
    "Result": ".net",
    "build_net": ".build",
    "load_net": ".build",
}

__all__ = [*_HOMES]
__getattr__ = lazy.exports(__name__, _HOMES)
