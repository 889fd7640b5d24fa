"""A folder of parts: one file for each, and what is missing."""

from __future__ import annotations

import os
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlossctl import remote
from rlossctl.errors import DataError, UsageError
from rlossctl.evaluation.parts.packing import LARGEST, NotPackedError, Packed
from rlossctl.evaluation.parts.part import Part
from rlossctl.files import atomic_write, cannot_write, make_folder, read_regular

PART = "part"  # in a key, beside what all parts of a job share
_NAME = re.compile(r"(?P<kind>[a-z]+)(?:\.(?P<model>.+))?\.(?P<number>\d+)of(?P<count>\d+)\.npz")


@dataclass(frozen=True)
class Folder:
    """Where the files of a job's parts are.

    Attributes:
        place: a folder of this machine, or an address (see `rlossctl.remote`).
        kind: what the parts are of: "eval" or "predict".
    """

    place: str
    kind: str

    def path(self, part: Part, model: str = "") -> str:
        """The name of a part's file; `model` tells the models of a job apart."""
        stem = ".".join([self.kind, *([re.sub(r"[^\w+-]+", "_", model)] if model else [])])
        name = f"{stem}.{part.rank + 1}of{part.count}.npz"
        return remote.joined(self.place, name) if remote.is_remote(self.place) else f"{self.place}/{name}"

    def names(self) -> list[str]:
        """The paths of all parts' files, sorted."""
        if remote.is_remote(self.place):
            found = remote.names(self.place)
        else:
            found = sorted(os.listdir(self.place)) if os.path.isdir(self.place) else []
        mine = [name for name in found if (match := _NAME.fullmatch(name)) and match["kind"] == self.kind]
        return [os.path.join(self.place, name) for name in mine]

    def count(self) -> int | None:
        """How many parts the job in it has, by its files' names; None if there is none."""
        counts = [int(match["count"]) for path in self.names() if (match := _NAME.search(path))]
        return counts[0] if counts else None

    def require(self, key: Mapping[str, Any], path: str) -> None:
        """Raises UsageError if the folder has parts of another job than the one with this key.

        Args:
            path: the file of the job's part. Others are looked at in its place, the first that there is.
        """
        model = _NAME.search(path)
        for name in self.names():
            match = _NAME.search(name)
            if match and model and match["model"] == model["model"]:
                require_same(load(name).key, key, name)
                return

    def all(self) -> list[Packed]:
        """The content of all files.

        Raises:
            DataError: there is none, or one of them is not a part.
            UsageError: they belong to several jobs.
        """
        found = [(name, load(name)) for name in self.names()]
        if not found:
            raise DataError(
                "there are no parts",
                where=self.place,
                found="no file of a part",
                expected=f"files such as {self.kind}.1of3.npz, from `rlossctl {self.kind} ... --part 1/3`",
                advice="check the folder's name, or make the parts first",
            )
        firsts: dict[str, Packed] = {}
        for name, packed in found:
            first = firsts.setdefault(str(packed.facts.get("model")), packed)
            require_same(packed.key, first.key, name)
        return [packed for _, packed in found]


def load(path: str, size: int = LARGEST) -> Packed:
    """The content of a part's file.

    Args:
        size: as for `Packed.from_bytes`.

    Raises:
        DataError: it cannot be read, or is something else.
    """
    try:
        content = remote.read(path, LARGEST) if remote.is_remote(path) else read_regular(path, LARGEST)
        return Packed.from_bytes(content, size)
    except (OSError, NotPackedError) as error:
        raise damaged(path, getattr(error, "strerror", None) or error) from error


def save(path: str, content: bytes) -> None:
    """Writes a part's file, and its folder if there is none; the file appears complete or not at all.

    Raises:
        RlossError: it cannot be written.
    """
    if remote.is_remote(path):
        try:
            remote.write(path, content)
        except OSError as error:
            raise cannot_write(Path(path), error) from error
        return
    make_folder(os.path.dirname(path))
    with atomic_write(path) as file:
        file.write(content)


def exists(path: str) -> bool:
    """Whether there is such a file."""
    if remote.is_remote(path):
        folder, _, name = path.rpartition("/")
        return name in remote.names(folder)
    return os.path.exists(path)


def require_same(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str) -> None:
    """Raises UsageError if two keys differ in more than the part's number."""
    differences = different(_shared(found), _shared(wanted))
    if differences:
        raise UsageError(
            "the part belongs to another job",
            where=where,
            found=f"a different {', '.join(differences)}",
            expected="the same model, list and options for all parts in a folder",
            advice="repeat the command of the other parts, or name another folder with --parts",
        )


def different(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The names under which two keys differ, sorted."""
    return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))


def damaged(path: object, reason: object) -> DataError:
    """The error for a file that is not a part."""
    return DataError(
        "this is not a part",
        where=path,
        found=reason,
        expected="a file written by `rlossctl eval` or `rlossctl predict` with --part or --state",
        advice="choose another file or folder, or remove this file and make the part again",
    )


def require_all(parts: Iterable[Packed], folder: str) -> None:
    """Raises DataError if parts are missing; it names them, with the command that makes them.

    Args:
        parts: the parts that there are, of one job.
    """
    done: dict[str, set[int]] = defaultdict(set)
    count, command, begun, models = 1, [""], 0, [""]
    try:
        for packed in parts:
            facts = packed.facts
            count, command, models = int(packed.key[PART]["count"]), facts["command"], facts["models"]
            if facts["complete"]:
                done[facts["model"]].add(int(packed.key[PART]["rank"]) + 1)
            else:
                begun += 1
        numbers = range(1, count + 1)
        missing = [number for number in numbers if any(number not in done[model] for model in models)]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder, error) from error
    if missing:
        named = ", ".join(f"{number}/{count}" for number in missing)
        unfinished = f"; {begun} of them begun" if begun else ""
        raise DataError(
            "parts are missing",
            where=folder,
            found=f"{count - len(missing)} of {count} parts; missing: {named}{unfinished}",
            expected="all parts",
            advice=command_for(command, missing, count),
        )


def command_for(arguments: Sequence[str], missing: Sequence[int], count: int) -> str:
    """The command that makes these parts, from the arguments of the one that made another."""
    words = ["rlossctl", *arguments]
    if "--part" not in words:
        return shlex.join(words)
    place = words.index("--part") + 1
    before, after = shlex.join(words[:place]), shlex.join(words[place + 1 :])
    if len(missing) == 1:
        return f"{before} {missing[0]}/{count} {after}".rstrip()
    loop = f"{before} $i/{count} {after}".rstrip()
    return f"for i in {' '.join(map(str, missing))}; do {loop}; done"


def without_part(arguments: Sequence[str]) -> list[str]:
    """The arguments without --part and what it names."""
    words = list(arguments)
    if "--part" in words:
        place = words.index("--part")
        del words[place : place + 2]
    return words


def spelt_out(arguments: Sequence[str]) -> list[str]:
    """Arguments with `--part=1/3` as two words."""
    return [
        word
        for argument in arguments
        for word in (argument.split("=", 1) if argument.startswith("--part=") else [argument])
    ]


def _shared(key: Mapping[str, Any]) -> dict[str, Any]:
    part = key.get(PART)
    return {**key, PART: part.get("count") if isinstance(part, dict) else part}
