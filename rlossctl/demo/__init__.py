"""The main job on generated data: train, convert, evaluate, report. Used by `rlossctl demo`.

It compares ways to train one net, each with the same number of updates and the same schedule. The first phase
is the cross-entropy, on thin scribbles or on full masks. The second phase goes on with it, or with another
loss in its place or beside it. So rows with the same labels differ only in the loss of the second phase.
"""

from rlossctl.demo.job import Settings, run_demo
from rlossctl.demo.recipes import chosen
from rlossctl.demo.table import format_table

__all__ = ["Settings", "chosen", "format_table", "run_demo"]
