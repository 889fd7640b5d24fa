"""Reads a configuration: a JSON or YAML file, or a command line's arguments."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlossctl.converters.programs.plan import Keys
from rlossctl.errors import DataError
from rlossctl.files import read_listing
from rlossctl.optional import needed

JSON, YAML, ARGUMENTS = "json", "yaml", "arguments"
_SUFFIXES = {".json": JSON, ".yaml": YAML, ".yml": YAML}
_LONGEST = 1 << 20  # characters; a longer file is not a configuration


@dataclass(frozen=True)
class Found:
    """A configuration as it was found.

    Attributes:
        where: the file, or what stands for it.
        form: JSON, YAML or ARGUMENTS.
        values: by key; keys of inner mappings follow those of the outer ones after a full stop.
    """

    where: str
    form: str
    values: Mapping[str, Any]

    def keys(self) -> Keys:
        """The values, to be taken one by one."""
        return Keys(self.values)


def read(source: str | Path) -> Found | None:
    """The configuration in a file, or in the arguments themselves; None if this is neither.

    Raises:
        DataError: the file is damaged.
        RlossError: a YAML file, and PyYAML is not installed.
    """
    text, path = str(source), Path(source)
    form = _SUFFIXES.get(path.suffix.lower())
    if form is None:
        arguments = _arguments(text)
        return None if arguments is None else Found("the arguments", ARGUMENTS, arguments)
    try:
        content = read_listing(path)
    except OSError as error:
        raise _broken(path, error.strerror or str(error)) from error
    values = _json(content, path) if form == JSON else _yaml(content, path)
    if not isinstance(values, Mapping):
        raise _broken(path, f"a {type(values).__name__}")
    return Found(str(path), form, dict(_flat(values)))


def _json(content: str, path: Path) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _broken(path, str(error)) from error


def _yaml(content: str, path: Path) -> Any:
    yaml = needed("yaml", "a YAML file needs PyYAML", path, otherwise="save it as JSON")
    try:
        return yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _broken(path, str(error)) from error


def _arguments(text: str) -> dict[str, Any] | None:
    """The options in a command line (`train.py --a 1 --b x`); None if there are none."""
    if " --" not in f" {text}" or "\n\n" in text or len(text) > _LONGEST:
        return None
    try:
        words = shlex.split(text.replace("\\\n", " "))
    except ValueError:
        return None
    out: dict[str, Any] = {}
    name = ""
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            out[name] = value if equals else "true"
        elif name:
            out[name], name = word, ""
    return out


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in values.items():
        inner = _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else []
        out += inner or [(f"{prefix}{key}", value)]
    return out


def _broken(path: Path, found: str) -> DataError:
    return DataError(
        "the configuration cannot be read",
        where=path,
        found=found,
        expected="a mapping of settings",
        advice="check the file",
    )
