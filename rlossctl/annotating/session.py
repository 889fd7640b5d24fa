"""One session: the folder is taken, the server runs until Ctrl-C."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rlossctl.annotating.advisor import Advisor, Model
from rlossctl.annotating.album import Album
from rlossctl.annotating.server import Address, Look, Server, Site
from rlossctl.annotating.store import Places, Store
from rlossctl.errors import RlossError
from rlossctl.files import make_folder
from rlossctl.locks import locked

_LOCK, _ADDRESS, _DOUBTS = ".annotate.lock", ".annotate.json", ".annotate.doubts.json"


class Job(NamedTuple):
    """What is labelled, with which classes, where labels go, how the page starts, and the model if any."""

    album: Album
    places: Places
    classes: Sequence[str]
    look: Look
    model: Model | None = None


@contextlib.contextmanager
def opened(job: Job, port: int = 0) -> Iterator[Server]:
    """The server, not yet running, with the labels' folder locked and everything in it up to date.

    Args:
        port: 0 takes the port that the folder's page had last, or a free one.

    Raises:
        RlossError: another process has the folder, the port is in use, or as `Store` and `Advisor` say.
    """
    out = make_folder(job.places.out)
    with locked(out / _LOCK, "rlossctl annotate"):
        store = Store(job.places, job.album, job.classes)
        advisor = Advisor(job.model, job.album, store, out / _DOUBTS) if job.model else None
        known = Address.read(out / _ADDRESS)
        with _started(Site(store, job.look, advisor), known, port) as server:
            Address(known.token, server.server_port).write(out / _ADDRESS)
            if advisor is None:
                yield server
                return
            advisor.start()
            try:
                yield server
            finally:
                advisor.close()


def run(job: Job, port: int, announce: Callable[[Server], None]) -> Store:
    """Serves until Ctrl-C; gives the labels' store then. Raises as `opened` does."""
    with opened(job, port) as server:
        announce(server)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
        return server.site.store


def _started(site: Site, known: Address, port: int) -> Server:
    try:
        return Server(site, known.token, port or known.port)
    except RlossError:
        if port or not known.port:
            raise
        return Server(site, known.token)  # another program has the port of last time
