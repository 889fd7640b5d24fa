"""Shares what torchrun's processes know of their parts: every process gets the parts of all."""

from __future__ import annotations

from rlossctl.evaluation.parts.part import Part


def gather(content: bytes, part: Part) -> list[bytes]:
    """The contents of all processes, in the order of their ranks."""
    if part.whole:
        return [content]
    from torch import distributed

    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
    contents: list[bytes | None] = [None] * part.count
    distributed.all_gather_object(contents, content)
    return [entry for entry in contents if entry is not None]


def close() -> None:
    """Leaves the process group, if this process joined one."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
