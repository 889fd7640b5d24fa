"""What every test may use: the recorded cases that travel with the tests, and the optional shared folder."""

from __future__ import annotations

import os
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
