"""From which snapshot a run goes on, and whether it is the same run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.errors import RlossError, WeightsError
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.snapshots import manifest, resume, snapshot
from rlossctl.solver.snapshots.folder import Outputs, require_free, would_clear
from rlossctl.solver.snapshots.manifest import Manifest, settings_of
from rlossctl.solver.telling.log import Log
from rlossctl.words import counted

if TYPE_CHECKING:
    from rlossctl.solver.solver import Solver


def require_same_run(outputs: Outputs, state: Path) -> None:
    """Refuses a state of another run than the one that the folder holds.

    Raises:
        RlossError: it is; names what can be done.
        WeightsError: the state's resume file is damaged.
    """
    known = manifest.read(outputs.manifest)
    entries = resume.read(resume.file_name(state))
    run = entries.get("run") if entries else None
    same = run == known.run if known and run else state.resolve() in would_clear(outputs)
    if not same:
        require_free(outputs)


def choose(wanted: str | None, outputs: Outputs, log: Log) -> Path | None:
    """The solver state to go on from, None for a fresh start.

    Args:
        wanted: a solver state, or "auto": the newest snapshot of the folder's run that is whole.

    Raises:
        WeightsError: none of the run's snapshots is whole.
    """
    if not wanted:
        return None
    if wanted != "auto":
        return Path(wanted)
    state = _newest_whole(outputs, log)
    if state is None:
        log.info(f"No snapshot {outputs.prefix}_iter_* to resume from: starting anew")
    return state


def go_on(solver: Solver, state: Path, outputs: Outputs, options: TrainOptions) -> None:
    """Restores the solver, and says what is not as it was when the run started.

    Raises:
        RlossError: nothing is left to do, or the state does not fit.
    """
    log = solver.log
    log.info(f"Resuming from {state}")
    solver.restore(state)
    own = snapshot.newest_first(solver.saving.prefix, solver.progress.run)
    solver.progress.snapshots = max(solver.progress.snapshots, *(one.number + 1 for one in own[:1]), 0)
    log.info(f"Going on with run {solver.progress.run} after {counted(solver.iter, 'iteration')}")
    if solver.iter > solver.param.max_iter > 0:
        raise RlossError(
            "the run has more iterations than are asked for",
            where=state,
            found=f"{counted(solver.iter, 'iteration')} done",
            expected=f"at most max_iter: {solver.param.max_iter}",
            advice="raise --max-iter, or resume from an earlier snapshot (--resume STATE)",
        )
    if options.seed is not None and options.seed != solver.progress.seed:
        log.warning(
            f"Seed {options.seed} does not count: the run goes on with its own, {solver.progress.seed}"
        )
    known = _manifest_of(solver.progress.run, outputs, state)
    if known is not None:
        for change in known.settings.changes(settings_of(solver)):
            log.warning(f"Not as when run {known.run} started: {change}")


def _manifest_of(run: str, outputs: Outputs, state: Path) -> Manifest | None:
    """The run's manifest: in the folder, or beside the state."""
    for path in (outputs.manifest, state.parent / outputs.manifest.name):
        known = manifest.read(path)
        if known is not None and known.run == run:
            return known
    return None


def _newest_whole(outputs: Outputs, log: Log) -> Path | None:
    found = _candidates(outputs)
    first: WeightsError | None = None
    for one in found:
        try:
            snapshot.check(one.files.state)
        except WeightsError as error:
            first = first or error
            log.warning(f"{error.where}: {error.message} ({error.found}); going back to the snapshot before")
            continue
        _tell_passed_over(one, found, outputs, log)
        return one.files.state
    if first is not None:
        raise first
    return None


def _candidates(outputs: Outputs) -> list[snapshot.Found]:
    """Snapshots of the folder's run, newest first; by number where nothing tells runs apart."""
    known = manifest.read(outputs.manifest)
    everything = snapshot.newest_first(outputs.prefix, None)
    run = known.run if known else everything[0].run if everything else None
    own = snapshot.newest_first(outputs.prefix, run) if run else []
    return own or [one for one in everything if one.run is None]


def _tell_passed_over(taken: snapshot.Found, own: list[snapshot.Found], outputs: Outputs, log: Log) -> None:
    """Names snapshots of higher numbers that are not this run's: somebody may look for them."""
    for one in snapshot.newest_first(outputs.prefix, None):
        if one.iter > taken.iter and one not in own:
            why = f"of run {one.run}" if one.run else "without a readable resume file"
            log.warning(f"{one.files.state} is {why}, so it is passed over")
