"""The name `caffe`: who gives it to this package consents to what comes with it, Python layers."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

from rlossctl.trust import python_layers_allowed

NAME = "caffe"


def installed() -> bool:
    """Whether `import caffe` gives this package, in this process."""
    return sys.modules.get(NAME) is sys.modules[__package__]


def consented() -> AbstractContextManager[None]:
    """Inside the block nets may load Python layers if the process was told that this package is Caffe."""
    return python_layers_allowed() if installed() else nullcontext()
