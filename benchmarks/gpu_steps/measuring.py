"""Steps that run another program of benchmarks/ and keep the figures that it writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from gpu_steps.step import Action, Run, Step, call


def benchmark(script: str, full: Sequence[object] = (), dry: Sequence[object] | None = None) -> Action:
    """A step that runs benchmarks/`script`.

    Args:
        full, dry: its arguments with and without a GPU; if `dry` is None, it needs a GPU.
    """

    def action(run: Run, step: Step) -> None:
        figures = run.out / f"{step.name}-figures.json"
        command = [sys.executable, f"benchmarks/{script}", "--json", figures]
        command += [] if dry is None else ["--device", run.device]
        command += dry if run.dry and dry is not None else full
        try:
            call(run, step, command, needs=["torch"] if dry is not None else ["gpu", "torch"])
        finally:  # it may have written figures before it failed
            if figures.is_file():
                step.figures = json.loads(figures.read_text(encoding="utf-8"))

    return action
