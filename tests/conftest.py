"""What every test may use: the recorded cases that travel with the tests, and the optional shared folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def golden() -> Path:
    """Recorded cases small enough to live in the repository."""
    return HERE / "golden"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that the tests belong to."""
    return HERE.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Original prototxts, data and large recordings: not part of the repository, so absent elsewhere."""
    folder = Path(os.environ.get("RLOSSCTL_SHARED", HERE.parent.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"needs the reference material in {folder} (set RLOSSCTL_SHARED to its place)")
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """One thread for torch: small nets run faster so, and nothing waits for a core that others use."""
    torch = sys.modules.get("torch")  # not every room needs it
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def build() -> Callable:
    """build(text, phase="TRAIN", where="net.prototxt", dialect="auto", **build_net's): the net of a text."""
    from rlossctl.net import Net, build_net
    from rlossctl.prototxt import parse_net
    from rlossctl.prototxt.phase import filter_net, net_state

    def build_text(
        text: str,
        phase: str = "TRAIN",
        where: str = "net.prototxt",
        dialect: str = "auto",
        **options: object,
    ) -> Net:
        return build_net(filter_net(parse_net(text, where, dialect), net_state(phase)), **options)

    return build_text
