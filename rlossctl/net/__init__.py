"""Messages to a runnable net: registry, graph, building, Net, summary."""

from rlossctl.net.build import build_net, load_net
from rlossctl.net.net import Net, Result

__all__ = ["Net", "Result", "build_net", "load_net"]
