"""Where a page comes from: the command, and when it ran."""

from __future__ import annotations

import platform
import shlex
import sys
from datetime import datetime, timezone

import rlossctl


def happened() -> dict[str, str]:
    """Command, date and versions, by what pages call them."""
    return {
        "command": shlex.join(sys.argv),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": f"rlossctl {rlossctl.__version__}, Python {platform.python_version()}",
    }
