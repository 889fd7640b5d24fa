"""The snapshots of a run: begun between two updates, written beside them, told when they are there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from rlossctl.solver.machine.processes import Processes
from rlossctl.solver.snapshots.saving import Progress, Saving
from rlossctl.solver.telling.listeners import Listener
from rlossctl.solver.telling.log import Log
from rlossctl.solver.undo import Undo
from rlossctl.solver.updating.average import Average


class Snapshots:
    """Those of one solver. Of several processes only the first one begins any.

    Args:
        saving: writes them.
        progress: of the run.
        undo: knows where its data and generators stand.
        average: may be shown in place of the weights.
        listeners: are told of each that is written.
    """

    def __init__(
        self,
        saving: Saving,
        progress: Progress,
        undo: Undo,
        average: Average,
        listeners: Sequence[Listener],
        log: Log,
    ) -> None:
        self._saving = saving
        self._progress = progress
        self._undo = undo
        self._average = average
        self._listeners = listeners
        self._log = log

    def begin(self) -> None:
        """Has one written while training goes on; the one before is finished first.

        Raises:
            RlossError: a weight is not finite, or the one before could not be written.
        """
        self.tell(wait=True)
        with self._average.hidden():
            self._saving.begin(self._progress, self._undo.position())

    def write(self) -> None:
        """Writes one.

        Raises:
            RlossError: as `begin`, or it could not be written.
        """
        self.begin()
        self.tell(wait=True)

    def tell(self, *, wait: bool) -> None:
        """Tells that one is written.

        Args:
            wait: until it is.

        Raises:
            RlossError: it could not be written.
        """
        saved = self._saving.finished(wait=wait)
        if saved is not None:
            for listener in self._listeners:
                listener.saved(saved)

    @contextlib.contextmanager
    def ended(self, processes: Processes) -> Iterator[None]:
        """After the block nothing is being written any more."""
        try:
            yield
        except BaseException:
            try:
                self.tell(wait=True)
            except Exception as error:  # the one under way comes first
                self._log.warning(f"A snapshot could not be written: {_one_line(error)}")
            raise
        processes.in_first(partial(self.tell, wait=True))

    @contextlib.contextmanager
    def if_it_fails(self, possible: Callable[[], bool]) -> Iterator[None]:
        """Leaves a snapshot of the last whole iteration when an error ends a training.

        Args:
            possible: whether this process can write one: not in the middle of an update.
        """
        start = self._progress.iter
        try:
            yield
        except Exception:
            if self._progress.iter > start and possible():
                self._write_what_is_there()
            raise

    def _write_what_is_there(self) -> None:
        """A snapshot, unless there is one of this iteration; what keeps it away does not hide the error."""
        iteration = self._progress.iter
        with self._log.best_effort():
            try:
                if self._saving.saved_iter != iteration:
                    self.write()
                where = f"snapshot of iteration {iteration}: {self._saving.last}"
                self._log.warning(f"Stopped by an error; {where}; --resume auto goes on from it")
            except Exception as error:
                reason = _one_line(error)
                self._log.warning(f"Stopped by an error, and no snapshot could be written: {reason}")


def _one_line(error: Exception) -> str:
    return str(error).replace("\n", " ")
