"""Where a run writes, and that a folder belongs to one run at a time."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

from rlossctl.errors import RlossError
from rlossctl.files import cannot_write, make_folder
from rlossctl.solver.snapshots import manifest
from rlossctl.solver.snapshots.manifest import Manifest
from rlossctl.words import counted


class Outputs(NamedTuple):
    """Where a run writes."""

    prefix: str
    log: Path
    metrics: Path
    manifest: Path
    lock: Path
    curves: Path

    def prefixes(self, known: Manifest | None) -> list[str]:
        """The snapshots' prefixes: this run's, and that of the run which the folder holds."""
        other = [] if known is None else [str(Path(self.prefix).parent / known.prefix)]
        return list(dict.fromkeys([self.prefix, *other]))


def output_files(prefix: str, out: str | Path | None) -> Outputs:
    """Where snapshots and logs go; creates the folder and proves that it can be written.

    Args:
        prefix: of the snapshots.
        out: the folder where the user named one; only then do the logs have plain names.

    Raises:
        RlossError: it cannot.
    """
    outputs = named_outputs(prefix, out)
    folder = outputs.log.parent
    make_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from error
    return outputs


def named_outputs(prefix: str, out: str | Path | None) -> Outputs:
    """Their names alone, as `output_files` has them."""
    folder = Path(os.path.dirname(prefix) or ".")
    names = ("train.log", "metrics.jsonl", "run.json", "run.lock", "curves.svg")
    return Outputs(
        prefix, *(folder / name if out is not None else Path(f"{prefix}_{name}") for name in names)
    )


def require_free(outputs: Outputs) -> None:
    """Refuses a folder that holds another run.

    Raises:
        RlossError: it has snapshots; names what can be done.
    """
    known = manifest.read(outputs.manifest)
    files = [file for prefix in outputs.prefixes(known) for file in _snapshot_files(prefix)]
    if not files:
        return
    run = "a run" if known is None else f"run {known.run} of {known.started}"
    folder = outputs.log.parent
    raise RlossError(
        "holds another run",
        where=folder,
        found=f"{run} with {counted(len(files), 'file')} of snapshots, such as {sorted(files)[-1].name}",
        expected="a folder for this run alone",
        advice="go on with that run (--resume auto), name another folder (--out), or delete that "
        "run and start anew (--overwrite)",
    )


def clear(outputs: Outputs) -> None:
    """Deletes the run that a folder holds: snapshots, logs and manifest."""
    try:
        known = manifest.read(outputs.manifest)
    except RlossError:
        known = None
    for prefix in outputs.prefixes(known):
        for path in sorted(_snapshot_files(prefix), key=lambda path: ".solverstate" not in path.name):
            path.unlink(missing_ok=True)
    for path in (outputs.manifest, outputs.log, outputs.metrics, outputs.curves):
        if path.is_file() and not path.is_symlink():
            path.unlink()


def would_clear(outputs: Outputs) -> set[Path]:
    """The snapshot files that `clear` deletes, resolved."""
    try:
        known = manifest.read(outputs.manifest)
    except RlossError:
        known = None
    files = [path for prefix in outputs.prefixes(known) for path in _snapshot_files(prefix)]
    return {path.resolve() for path in files}


def _snapshot_files(prefix: str) -> list[Path]:
    folder, stem = os.path.split(prefix)
    suffix = (
        r"(_iter_\d+\.((ema\.)?caffemodel(\.h5)?|solverstate(\.h5)?|resume\.json)"
        r"|_best\.caffemodel(\.h5)?)"
    )
    pattern = re.compile(re.escape(stem) + suffix)
    return [Path(folder, name) for name in os.listdir(folder or ".") if pattern.fullmatch(name)]
