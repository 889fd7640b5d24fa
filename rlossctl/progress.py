"""Shows the progress of a long pass: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
_SECONDS_BETWEEN_LINES = 10.0


def track(items: Iterable[T], total: int | None, what: str) -> Iterator[T]:
    """Yields the items, and reports on standard error how many of the `total`, if it is known, are done."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, unit=f" {what}", leave=False, dynamic_ncols=True)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES and done != total:
            rate = done / (now - start)
            shown = f"{done}/{total}" if total else str(done)
            print(f"{shown} {what} ({rate:.1f} per second)", file=sys.stderr, flush=True)
            last = now
