"""Calls the CUDA kernels for sets of points; cuda.py says how memory, streams and errors work."""

from __future__ import annotations

from typing import Any

import torch

from rlossctl.bilateral import cuda
from rlossctl.bilateral.twin import FORWARD


class PointLattices:
    """The lattices of sets of points [B, P, d], d from 2 to 6, kept to filter many times.

    Raises:
        ValueError: sizes are beyond the kernel's counters.
        RuntimeError: a launch failed.
    """

    def __init__(self, points: torch.Tensor) -> None:
        sets, self._count, self._features = points.shape
        self._part = self._sizes(sets).kept_sets()  # how many sets share a lattice's memory
        planes = points.transpose(1, 2).contiguous()  # [B, d, P]
        self._kept = []
        with cuda._current_stream(points.device) as stream:
            for part in planes.split(self._part):
                sizes = self._sizes(len(part))
                kept = cuda._memory(sizes.lattice_bytes(), points.device)
                sizes.build(part.data_ptr(), *cuda._span(kept), stream)
                self._kept.append(kept)

    def filter(
        self, values: torch.Tensor, order: int = FORWARD, deterministic: bool | None = None
    ) -> torch.Tensor:
        """A applied to values [B, K, P]; the rest as for `cuda.lattice_filter`."""
        filtered = torch.empty_like(values)
        fixed = cuda._deterministic(deterministic)
        parts = zip(self._kept, values.split(self._part), filtered.split(self._part), strict=True)
        with cuda._current_stream(values.device, *self._kept) as stream:
            for kept, part, out in parts:
                sizes, channels = self._sizes(len(part)), part.shape[1]
                size = sizes.rows_workspace_bytes(channels, order, fixed)
                workspace = cuda._memory(size, values.device)  # held until the work is on the stream
                sizes.apply(
                    *cuda._addresses(part, out),
                    channels,
                    order,
                    fixed,
                    *cuda._span(kept),
                    *cuda._span(workspace),
                    stream,
                )
        return filtered

    def _sizes(self, sets: int) -> Any:
        return cuda._kernel().Points(sets, self._count, self._features)
