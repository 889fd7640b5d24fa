"""Writes a plan as prototxts, which are templates where they name files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlossctl import configs
from rlossctl.converters.programs.plan import Plan, Program, Refused
from rlossctl.converters.programs.reading import Found
from rlossctl.errors import RlossError
from rlossctl.files import atomic_write, make_folder
from rlossctl.prototxt import template
from rlossctl.prototxt.messages import NetParameter, SolverParameter
from rlossctl.prototxt.text import parse, to_text
from rlossctl.weights import provenance
from rlossctl.words import counted

_WIDTH = 110


@dataclass(frozen=True)
class Translated:
    """A program's configuration as prototxts.

    Attributes:
        out: their folder.
        files: solver, training net, test net.
        title: the configuration, in words.
        network: the network's name.
        notes: what the user should know.
        refused: the keys that are not honoured.
    """

    out: Path
    files: tuple[Path, ...]
    title: str
    network: str
    notes: tuple[str, ...]
    refused: tuple[Refused, ...]

    def lines(self) -> list[str]:
        """What `convert` prints; the first line names the files."""
        unread = [
            f"not honoured: {entry.key} = {_shown(entry.value)} ({entry.why})" for entry in self.refused
        ]
        count = f"{counted(len(self.refused), 'key')} not honoured" if unread else "every key honoured"
        return [
            f"wrote {', '.join(map(str, self.files))}",
            f"from {self.title}: {self.network}; {count}",
            *(f"note: {text}" for text in self.notes),
            *unread,
            f"next: rlossctl train --prototxt {self.files[0]} --set DATA_ROOT=... --set EXP=... --out runs/a",
        ]

    def as_dict(self) -> dict[str, Any]:
        """For a report."""
        return {
            "files": [str(path) for path in self.files],
            "network": self.network,
            "notes": list(self.notes),
            "not honoured": [entry._asdict() for entry in self.refused],
        }


def write(program: Program, plan: Plan, found: Found, out: Path) -> Translated:
    """Writes the three files; see `translate`."""
    if out.exists() and not out.is_dir():
        raise RlossError("a folder is needed", where=out, found="a file", advice="name a folder with -o")
    read = {"configuration": found.where} if os.path.isfile(found.where) else {}
    title = f"# {plan.network} of rlossctl, with the settings of {program.title} ({found.where}).\n"
    header = provenance.comment(provenance.facts(read)) + title
    train, test = (_net(plan, which) for which in (plan.train, "test"))
    for edit in plan.model:
        edit(train)
        edit(test)
    _change(train, plan)
    texts = {"solver": _solver(plan), "train": to_text(train), "test": to_text(test)}
    folder = make_folder(out)
    files = tuple(folder / f"{name}.prototxt" for name in texts)
    for path, text in zip(files, texts.values(), strict=True):
        with atomic_write(path) as file:
            file.write((header + text).encode())
    return Translated(out, files, program.title, plan.network, tuple(plan.notes), tuple(plan.refused))


def _filled(plan: Plan, which: str) -> str:
    """A network's text with values for all placeholders but those inside quotes."""
    text = configs.text(f"{plan.network}/{which}")
    kept = {
        match[1]: match[0]
        for quoted in re.finditer(template.STRING, text)
        for match in template.PLACEHOLDER.finditer(quoted[0])
    }
    values = {**template.defaults(text), **kept, **plan.placeholders}
    return template.fill(text, values, f"{plan.network}/{which}")


def _net(plan: Plan, which: str) -> NetParameter:
    return parse(_filled(plan, which), NetParameter, f"{plan.network}/{which}")


def _solver(plan: Plan) -> str:
    which = plan.train.replace("train", "solver", 1)
    solver = parse(_filled(plan, which), SolverParameter, f"{plan.network}/{which}")
    solver.train_net = "train.prototxt"
    _set(solver, plan.solver)
    return to_text(solver)


def _change(net: NetParameter, plan: Plan) -> None:
    data = next(layer for layer in net.layer if layer.HasField("image_data_param"))
    if plan.transform:
        data.transform_param.ClearField("scale_factors")
    _set(data.transform_param, plan.transform)
    _set(data.image_data_param, plan.images)
    for edit in plan.edits:
        edit(net)


def _set(message: Any, fields: dict[str, Any]) -> None:
    """Sets fields; a list replaces a repeated one, None clears."""
    for name, value in fields.items():
        if value is None or isinstance(value, list):
            message.ClearField(name)
        if isinstance(value, list):
            getattr(message, name).extend(value)
        elif isinstance(value, dict):
            _set(getattr(message, name), value)
        elif value is not None:
            setattr(message, name, value)


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}..."
