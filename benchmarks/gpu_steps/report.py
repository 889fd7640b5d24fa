"""The report on all steps, as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any


def write(out: Path, report: dict[str, Any]) -> None:
    """Writes both files; each is complete or unchanged."""
    plain = {**report, "steps": [asdict(step) for step in report["steps"]]}
    for step in plain["steps"]:
        del step["ends"]
    for name, text in (("gpu.json", json.dumps(plain, indent=2) + "\n"), ("gpu.md", markdown(plain))):
        part = out / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(out / name)


def markdown(report: dict[str, Any]) -> str:
    """Tables: the steps, the filter with its floors, and every other figure."""
    steps = {step["name"]: step for step in report["steps"]}
    title = "Dry run without a GPU" if report["dry"] else "On a GPU"
    lines = [f"# {title}, {report['started']}", ""]
    if report["dry"]:
        lines += ["Sizes are tiny, and a processor takes the GPU's place: these figures measure nothing.", ""]
    rows = [(name, s["state"], f"{s['seconds']:.1f}", s["why"] or "-") for name, s in steps.items()]
    lines += table(("step", "result", "s", "why"), rows)
    for name, step in steps.items():
        rows = [(key, shown(value)) for key, value in step["figures"].items() if key != "sizes"]
        if rows:
            lines += ["", f"## {name}", "", *table(("what", "figure"), rows)]
        sizes = step["figures"].get("sizes")
        if sizes:
            lines += [
                "",
                "Milliseconds per batch; the columns bytes and work are floors, target is the design goal.",
                "",
            ]
            lines += table(tuple(sizes[0]), [tuple(map(shown, row.values())) for row in sizes])
    return "\n".join(lines) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in cells]


def shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(shown, value)) or "none"
    return "-" if value is None else str(value)
